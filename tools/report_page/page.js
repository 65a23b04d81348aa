// Draws each plot on its canvas, in the colours of the page, and again when these change.
"use strict";
(() => {
  const plots = JSON.parse(document.getElementById("plots").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  // Told apart by those who see no red or no green, too.
  const lightColours = ["#0060a8", "#c2510a", "#2b8a4b", "#8a4ca8", "#a8862a", "#b0305c"];
  const darkColours = ["#5fb0f0", "#f4935a", "#6fd394", "#c89be6", "#e0c060", "#f08cab"];
  const marks = ["circle", "rect", "triangle", "rectRot", "star", "cross"];

  const digits = (value) => {
    const most = value >= 100 || Number.isInteger(value) ? 0 : value >= 10 ? 1 : 2;
    return value.toLocaleString("en", {maximumFractionDigits: most});
  };
  const scaled = (value, step, units) => {
    let unit = 0;
    for (; unit + 1 < units.length && Math.round(value) >= step; ++unit) value /= step;
    return `${digits(value)} ${units[unit]}`;
  };
  const bytes = (value) => scaled(value, 1024, ["B", "KiB", "MiB", "GiB", "TiB"]);
  const texts = {
    bytes: bytes,
    bytes_per_second: (value) => `${bytes(value)}/s`,
    seconds: (value) => scaled(value * 1e9, 1000, ["ns", "µs", "ms", "s"]),
    count: digits,
    per_second: (value) => `${digits(value)}/s`,
  };

  // Where a logarithmic axis may have a line, ascending, from below `from` to above `to`: powers of 4
  // for bytes (of 16 where these are many), else 1, 2 and 5 times powers of 10 (or the powers alone).
  const linesAround = (axis, from, to) => {
    const inBytes = axis.unit.startsWith("bytes");
    const base = inBytes ? (to / from > 2 ** 24 ? 16 : 4) : 10;
    const between = !inBytes && to / from < 1000 ? [1, 2, 5] : [1];
    const lines = [];
    const first = Math.floor(Math.log(from) / Math.log(base) + 1e-9);
    for (let power = first; ; ++power) {
      for (const times of between) {
        const value = times * base ** power;
        if (value <= from * 1.000001) lines.length = 0;
        lines.push(value);
        if (value >= to * 0.999999) return lines;
      }
    }
  };

  const scaleOf = (axis, values, {quiet, line}) => {
    const scale = {
      title: {display: true, text: axis.title, color: quiet},
      grid: {color: line, borderColor: quiet},
      ticks: {color: quiet, maxRotation: 0, autoSkipPadding: 12},
    };
    if (axis.labels.length > 0) return Object.assign(scale, {type: "category", labels: axis.labels});
    scale.type = axis.log ? "logarithmic" : "linear";
    scale.beginAtZero = !axis.log;
    scale.ticks.callback = (value) => texts[axis.unit](value);
    if (axis.log && values.length > 0) {
      const lines = linesAround(axis, Math.min(...values), Math.max(...values));
      scale.min = lines[0];
      scale.max = lines[lines.length - 1];
      scale.afterBuildTicks = (built) => {
        built.ticks = lines.map((value) => ({value}));
      };
    }
    return scale;
  };

  const datasetsOf = (plot, quiet) => {
    const colours = dark.matches ? darkColours : lightColours;
    const limits = [[2, 3], [8, 4], [12, 3, 2, 3], [4, 8]];
    let measured = 0;
    let limit = 0;
    return plot.series.map((series) => {
      const colour = series.limit ? quiet : colours[measured % colours.length];
      const place = series.limit ? limit++ : measured++;
      return {
        label: series.name,
        data: series.points.map(([x, y]) =>
          ({x: plot.x.labels.length > 0 ? plot.x.labels[x] : x, y})),
        borderColor: colour,
        backgroundColor: colour,
        borderWidth: series.limit ? 1.5 : 2.5,
        borderDash: series.limit ? limits[place % limits.length] : [],
        pointStyle: series.limit ? "line" : marks[place % marks.length],
        pointRadius: series.limit ? 0 : 4,
        pointHitRadius: 8,
        clip: false,
      };
    });
  };

  const charts = [];
  const draw = () => {
    while (charts.length > 0) charts.pop().destroy();
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const colours = {quiet: colour("--quiet"), line: colour("--line")};
    for (const canvas of document.querySelectorAll("canvas[data-plot]")) {
      const plot = plots[Number(canvas.dataset.plot)];
      const values = (place) =>
        plot.series.flatMap((series) => series.points.map((point) => point[place]));
      charts.push(new Chart(canvas, {
        type: "line",
        data: {datasets: datasetsOf(plot, colours.quiet)},
        options: {
          animation: false,
          responsive: true,
          maintainAspectRatio: false,
          interaction: {mode: "nearest", intersect: false},
          scales: {
            x: scaleOf(plot.x, values(0), colours),
            y: scaleOf(plot.y, values(1), colours),
          },
          plugins: {
            // A box without height is a line, dashed where the series is.
            legend: {labels: {color: colour("--text"), boxWidth: 28, boxHeight: 0}},
            tooltip: {
              callbacks: {
                title: (items) => plot.x.labels.length > 0
                  ? items[0].label : texts[plot.x.unit](items[0].parsed.x),
                label: (item) => `${item.dataset.label}: ${texts[plot.y.unit](item.parsed.y)}`,
              },
            },
          },
        },
      }));
    }
  };
  draw();
  dark.addEventListener("change", draw);
})();

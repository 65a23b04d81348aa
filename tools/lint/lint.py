"""Holds the tree to the rules that neither a compiler nor clang-format checks.

  deps      what a target includes is what it depends on, no less and no more
  budgets   400 lines a file, 200 a public header
  guards    a header's include guard is its path
  names     nothing is called util, common, misc or helpers
  types     no two headers have a type of one name: one program links both halves, and no linker
            would tell
  readme    its C++ code is that of an example, which a test runs

Prints one line per finding, `FILE: what is wrong; what to do`, and exits 1 if there is any.
"""

import pathlib
import re
import subprocess
import sys
import xml.etree.ElementTree

ROOT = pathlib.Path(__file__).resolve().parents[2]
MOST_LINES = 400
MOST_LINES_OF_PUBLIC_HEADER = 200
PUBLIC_HEADERS = ("client/address_space.h", "client/client.h", "client/client_options.h",
                  "client/device_features.h", "client/device_migration.h",
                  "client/dirty_pages.h", "client/dma_log.h", "client/dma_mapping.h",
                  "client/doorbell.h", "client/interrupt.h", "client/interrupt_switch.h",
                  "client/interrupt_type.h", "client/pci_config.h", "client/pci_function.h",
                  "client/region.h", "client/region_access_list.h", "server/device.h",
                  "server/dma_space.h", "server/mappable_bar.h", "server/server.h")
BAD_NAMES = ("util", "utils", "common", "misc", "helper", "helpers")
CPP_BLOCK = re.compile(r"^```cpp\n(.*?)^```$", re.DOTALL | re.MULTILINE)
# A type that is defined at the start of a line, and not only declared.
TYPE = re.compile(r"^(?:class|struct|enum class) (\w+)(?: final)?(?: :[^;{]*)? ?\{", re.MULTILINE)
INCLUDE = re.compile(r'^\s*#\s*include\s+["<]([^">]+)[">]', re.MULTILINE)

# Headers of external packages, by the start of their path, and the label that has them.
EXTERNAL = (
    ("absl/base/thread_annotations.h", "@com_google_absl//absl/base:core_headers"),
    ("absl/container/btree_map.h", "@com_google_absl//absl/container:btree"),
    ("absl/container/btree_set.h", "@com_google_absl//absl/container:btree"),
    ("absl/strings/cord.h", "@com_google_absl//absl/strings:cord"),
    ("absl/strings/", "@com_google_absl//absl/strings:strings"),
    ("absl/time/", "@com_google_absl//absl/time:time"),
    ("benchmark/", "@com_google_benchmark//:benchmark"),
    ("CLI/", "@cli11//:cli11"),
    ("fmt/", "@fmt//:fmt"),
    ("nlohmann/", "@nlohmann_json//:json"),
    ("vfio_user/client.h", "//client:client"),
    ("vfio_user/server.h", "//server:server"),
    ("zlib.h", "@zlib//:zlib"),
)
# Targets that give their users, by their own header, the public headers of others.
FACADES = ("//client:client", "//server:server")
# gtest comes as two targets, with and without a main().
GTEST = ("@com_google_googletest//:gtest", "@com_google_googletest//:gtest_main")


def external_label(include):
    for prefix, label in EXTERNAL:
        if include.startswith(prefix):
            return label
    if include.startswith("absl/"):
        package, _, header = include.rpartition("/")
        return f"@com_google_absl//{package}:{header.removesuffix('.h')}"
    return None


class Target:
    def __init__(self, rule):
        self.label = rule.get("name")
        self.lists = {
            entry.get("name"): [label.get("value") for label in entry.iter("label")]
            for entry in rule.findall("list")
        }

    def files(self, *kinds):
        return [to_path(label) for kind in kinds for label in self.lists.get(kind, [])
                if label.endswith((".h", ".cc"))]

    def deps(self):
        return set(self.lists.get("deps", []))


def to_path(label):
    return label.removeprefix("//").replace(":", "/").lstrip("/")


def query_targets():
    result = subprocess.run(
        ["bazel", "query", "--noshow_progress", "--output=xml", 'kind("cc_.* rule", //...)'],
        cwd=ROOT, check=True, capture_output=True, text=True)
    # Bazel writes XML 1.1, of which the parser knows only the name.
    text = result.stdout.replace('version="1.1"', 'version="1.0"', 1)
    return [Target(rule) for rule in xml.etree.ElementTree.fromstring(text).iter("rule")]


def check_deps(targets):
    owners = {}
    for target in targets:
        for header in target.files("hdrs"):
            owners[header] = target.label
    for target in targets:
        own = set(target.files("srcs", "hdrs"))
        wanted = set()
        for path in sorted(own):
            for include in INCLUDE.findall((ROOT / path).read_text(encoding="utf-8")):
                if include in own:
                    continue
                if include.startswith(("gtest/", "gmock/")):
                    if not target.deps() & set(GTEST):
                        yield f"{path}: includes {include}; add {GTEST[1]} to {target.label}"
                    continue
                label = owners.get(include) or external_label(include)
                if label is None:
                    continue
                wanted.add(label)
                facades = target.deps() & set(FACADES) if include in PUBLIC_HEADERS else set()
                wanted |= facades
                if label not in target.deps() and not facades:
                    yield f"{path}: includes {include}; add {label} to the deps of {target.label}"
        for dep in sorted(target.deps() - wanted - set(GTEST)):
            # Without files it only links what others have.
            if own and target.label not in FACADES:
                yield f"{target.label}: includes nothing of {dep}; remove it from deps"


def check_budgets(paths):
    for path in paths:
        most = MOST_LINES_OF_PUBLIC_HEADER if path in PUBLIC_HEADERS else MOST_LINES
        lines = (ROOT / path).read_text(encoding="utf-8").count("\n")
        if lines > most:
            yield f"{path}: {lines} lines, at most {most}; split it by message family or idea"


def check_guards(paths):
    for path in paths:
        if not path.endswith(".h"):
            continue
        guard = re.sub(r"[/.]", "_", path).upper() + "_"
        text = (ROOT / path).read_text(encoding="utf-8")
        if f"#ifndef {guard}\n#define {guard}\n" not in text:
            yield f"{path}: want the include guard {guard}"


def check_names(paths, targets):
    names = [(path, pathlib.PurePath(path).parts) for path in paths]
    names += [(target.label, (target.label.rpartition(":")[2],)) for target in targets]
    for where, parts in names:
        for part in parts:
            stem = part.partition(".")[0]
            if any(word in BAD_NAMES for word in stem.split("_")):
                yield f"{where}: '{stem}' says nothing; name the idea"


def check_types(paths):
    homes = {}
    for path in paths:
        if not path.endswith(".h"):
            continue
        for name in TYPE.findall((ROOT / path).read_text(encoding="utf-8")):
            if homes.setdefault(name, path) != path:
                yield f"{path}: {name} is the name of a type in {homes[name]} too; rename one"


def check_readme():
    examples = [path.read_text(encoding="utf-8")
                for path in (ROOT / "client/examples").glob("*.cc")]
    for block in CPP_BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8")):
        if not any(block in example for example in examples):
            yield f"README.md: no example holds this code, which begins: {block.splitlines()[0]}"


def main():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True,
                            text=True).stdout.split()
    sources = [path for path in listed
               if path.endswith((".h", ".cc", ".py", ".sh", ".bzl")) and (ROOT / path).exists()]
    targets = query_targets()
    findings = [*check_deps(targets), *check_budgets(sources), *check_guards(sources),
                *check_names(sources, targets), *check_types(sources), *check_readme()]
    for finding in findings:
        print(finding)
    print(f"lint: {len(targets)} targets, {len(sources)} files, {len(findings)} findings",
          file=sys.stderr)
    return 1 if findings else 0


sys.exit(main())

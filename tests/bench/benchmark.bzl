"""Benchmarks of this package."""

load("@rules_cc//cc:defs.bzl", "cc_binary", "cc_test")

def benchmark(name, deps, test_filter = "all"):
    """NAME, of NAME.cc, and NAME_test: whether it runs.

    How fast is not judged on a machine that does other things meanwhile.

    Args:
      name: of the program.
      deps: of the program.
      test_filter: the benchmarks that the test runs, as --benchmark_filter has them.
    """
    srcs = [name + ".cc"]
    cc_binary(
        name = name,
        srcs = srcs,
        deps = deps,
    )
    cc_test(
        name = name + "_test",
        size = "small",
        srcs = srcs,
        args = [
            "--benchmark_filter=" + test_filter,
            "--benchmark_min_time=0.001",
            "--benchmark_repetitions=1",
        ],
        deps = deps,
    )

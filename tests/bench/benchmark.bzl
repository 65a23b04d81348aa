"""Benchmarks of this package."""

load("@rules_cc//cc:defs.bzl", "cc_binary", "cc_library", "cc_test")

def benchmark(name, deps, test_filter = "all"):
    """NAME, of NAME.cc, and NAME_test: whether it runs.

    How fast is not judged on a machine that does other things meanwhile.

    Args:
      name: of the program.
      deps: of the program.
      test_filter: the benchmarks that the test runs, as --benchmark_filter has them.
    """

    # Compiled once for both.
    main = name + "_main"
    cc_library(
        name = main,
        srcs = [name + ".cc"],
        alwayslink = True,
        deps = deps,
    )
    cc_binary(
        name = name,
        deps = [main],
    )
    cc_test(
        name = name + "_test",
        size = "small",
        args = [
            "--benchmark_filter=" + test_filter,
            "--benchmark_min_time=0.001",
            "--benchmark_repetitions=1",
        ],
        deps = [main],
    )

"""The external packages, each from the distribution's -dev package."""

load("//third_party/system:empty.bzl", "empty_repository")
load("//third_party/system:file.bzl", "system_file_repository")
load("//third_party/system:native_rules.bzl", "native_rules_repository")
load("//third_party/system:pkg_config.bzl", "pkg_config_repository")

def _absl(package, names):
    # Debian's absl_NAME.pc says all that //absl/PACKAGE:NAME needs.
    return {
        "absl/{}:{}".format(package, name): ["absl_" + name]
        for name in names
    }

def _abseil():
    targets = {}
    targets.update(_absl("base", ["config", "core_headers"]))
    targets.update(_absl("cleanup", ["cleanup"]))
    targets.update(_absl("container", ["btree", "flat_hash_map", "flat_hash_set", "inlined_vector"]))
    targets.update(_absl("functional", ["function_ref"]))
    targets.update(_absl("status", ["status", "statusor"]))
    targets.update(_absl("strings", ["cord", "strings"]))
    targets.update(_absl("time", ["time"]))
    return targets

def system_packages():
    """Declares every external repository that a BUILD file here names."""
    native_rules_repository(name = "rules_cc", package = "cc", rules = [
        "cc_binary",
        "cc_import",
        "cc_library",
        "cc_test",
        "cc_toolchain",
        "cc_toolchain_suite",
    ])
    native_rules_repository(name = "rules_java", package = "java", rules = [
        "java_binary",
        "java_import",
        "java_library",
        "java_runtime",
        "java_toolchain",
    ])
    empty_repository(
        name = "remote_coverage_tools",
        targets = ["coverage_report_generator", "lcov_merger"],
    )
    pkg_config_repository(name = "com_google_absl", targets = _abseil())
    pkg_config_repository(name = "fmt", targets = {":fmt": ["fmt"]})
    pkg_config_repository(name = "com_google_googletest", targets = {
        ":gtest": ["gmock", "gtest"],
        ":gtest_main": ["gmock_main"],
    })
    pkg_config_repository(name = "com_google_benchmark", targets = {
        ":benchmark": ["benchmark"],
    })
    pkg_config_repository(name = "nlohmann_json", targets = {":json": ["nlohmann_json"]})
    pkg_config_repository(name = "cli11", targets = {":cli11": ["CLI11"]})
    pkg_config_repository(name = "zlib", targets = {":zlib": ["zlib"]})
    system_file_repository(
        name = "chart_js",
        path = "/usr/share/javascript/chart.js/chart.min.js",
    )

"""Stands in for rules_cc and rules_java by giving Bazel's own native rules their names.

Debian packages rules_cc in a version too new for the Bazel beside it, and Bazel wants
rules_java for toolchains that a C++ build resolves and never uses.
"""

def _native_rules_repository_impl(repository_ctx):
    package = repository_ctx.attr.package
    repository_ctx.file(package + "/BUILD.bazel", "")
    repository_ctx.file(package + "/defs.bzl", "\n".join([
        "{rule} = native.{rule}".format(rule = rule)
        for rule in repository_ctx.attr.rules
    ]))

native_rules_repository = repository_rule(
    implementation = _native_rules_repository_impl,
    attrs = {
        # The rules appear in @NAME//PACKAGE:defs.bzl.
        "package": attr.string(mandatory = True),
        "rules": attr.string_list(mandatory = True),
    },
)

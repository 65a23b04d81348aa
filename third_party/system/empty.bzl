"""A repository of empty targets, for one that Bazel names and this build never uses."""

def _empty_repository_impl(repository_ctx):
    repository_ctx.file("BUILD.bazel", "\n".join([
        'filegroup(name = "{}", visibility = ["//visibility:public"])'.format(name)
        for name in repository_ctx.attr.targets
    ]))

empty_repository = repository_rule(
    implementation = _empty_repository_impl,
    attrs = {"targets": attr.string_list()},
)

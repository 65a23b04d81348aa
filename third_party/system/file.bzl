"""Presents a file that a package of the distribution has installed as an external repository."""

def _system_file_repository_impl(repository_ctx):
    path = repository_ctx.path(repository_ctx.attr.path)
    if not path.exists:
        fail("{} is not there; run tools/setup.sh to install what the build needs".format(path))
    repository_ctx.symlink(path, path.basename)
    repository_ctx.file("BUILD.bazel", 'exports_files(["{}"])\n'.format(path.basename))

system_file_repository = repository_rule(
    implementation = _system_file_repository_impl,
    attrs = {"path": attr.string(mandatory = True)},
    local = True,
)

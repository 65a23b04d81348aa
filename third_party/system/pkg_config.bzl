"""Presents a library that the system already has as an external repository.

Headers are found in the compiler's own search path, so that a target carries only what
pkg-config says: flags to compile and to link with.
"""

_TARGET = """
cc_library(
    name = "{name}",
    copts = [],
    defines = {defines},
    includes = [],
    linkopts = {linkopts},
    deps = {deps},
    visibility = ["//visibility:public"],
)
"""

def _flags(repository_ctx, kind, modules):
    result = repository_ctx.execute(["pkg-config", kind] + modules)
    if result.return_code != 0:
        fail("pkg-config {} {}: {}\nRun tools/setup.sh to install what the build needs.".format(
            kind,
            " ".join(modules),
            result.stderr.strip(),
        ))
    return [flag for flag in result.stdout.replace("\n", " ").split(" ") if flag]

def _defines(repository_ctx, modules):
    flags = _flags(repository_ctx, "--cflags-only-other", modules)
    return [flag[2:] for flag in flags if flag.startswith("-D")]

def _target(repository_ctx, name, modules, extra_linkopts, deps):
    linkopts = _flags(repository_ctx, "--libs", modules) if modules else []
    return _TARGET.format(
        name = name,
        defines = repr(_defines(repository_ctx, modules) if modules else []),
        linkopts = repr(linkopts + extra_linkopts),
        deps = repr(deps),
    )

def _pkg_config_repository_impl(repository_ctx):
    builds = {}
    for label, spec in repository_ctx.attr.targets.items():
        package, _, name = label.partition(":")
        modules = [word for word in spec if not word.startswith("-") and not word.startswith(":")]
        linkopts = [word for word in spec if word.startswith("-")]
        deps = [word for word in spec if word.startswith(":")]
        builds.setdefault(package, []).append(
            _target(repository_ctx, name, modules, linkopts, deps),
        )
    for package, targets in builds.items():
        path = package + "/BUILD.bazel" if package else "BUILD.bazel"
        repository_ctx.file(path, "\n".join(targets))

pkg_config_repository = repository_rule(
    implementation = _pkg_config_repository_impl,
    attrs = {
        # "package:target" to a list of pkg-config modules, "-l..." flags and ":target" deps.
        "targets": attr.string_list_dict(mandatory = True),
    },
    environ = ["PKG_CONFIG_PATH"],
    local = True,
)

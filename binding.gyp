# Builds the add-on of the Node package: build/Release/rlimit.node. `node bindings/node/install.js` runs it.
# node-gyp configure build -- -Ddeveloper=1 adds the warnings, as errors.
{
  "variables": { "developer%": 0 },
  "targets": [
    {
      "target_name": "rlimit",
      "sources": ["bindings/node/addon.c"],
      "include_dirs": [".", "ext"],
      "cflags_c": ["-std=c11", "-O2", "-fvisibility=hidden"],
      "xcode_settings": {
        "GCC_C_LANGUAGE_STANDARD": "c11",
        "GCC_OPTIMIZATION_LEVEL": "2",
        "GCC_SYMBOLS_PRIVATE_EXTERN": "YES",
      },
      "conditions": [
        ["developer==1 and OS!='win'", { "cflags_c": ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"] }],
      ],
    },
  ],
}

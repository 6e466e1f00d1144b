"""Wrong changes of the settings: ranges, uses, keys, paths, help."""

from tests.mutations.mutation import in_file

MUTATIONS = (
    *in_file(
        "renamed.py",
        ("tests/test_renamed.py",),
        ("known-keys-renamed", "key if key in known else KEYS.get(key, key)", "KEYS.get(key, key)"),
        (
            "added-keys-win",
            '{key: value for key, value in ADDED.items() if key in known} | named | {"job": job}',
            'named | {key: value for key, value in ADDED.items() if key in known} | {"job": job}',
        ),
    ),
    *in_file(
        "config/rules.py",
        ("tests/config/test_rules.py",),
        (
            "names-twice-in-a-list",
            "len(xs) > 0 and len(set(xs)) == len(xs)",
            "len(xs) > 0",
        ),
        ("infinite-settings", "not abs(one) <= LARGEST", "one != one"),
        ("seeds-of-any-size", "0 <= x < SEED_BOUND", "0 <= x"),
        ("other-numbers-of-any-size", "not abs(one) < INT_BOUND", "False"),
        ("true-is-a-number", "x, int | float) and not isinstance(x, bool)", "x, int | float)"),
        (
            "codes-folder-not-looked-at",
            'if "codes" in config.get("data", {}) and config.data.codes:',
            "if False:",
        ),
    ),
    *in_file(
        "config/uses.py",
        ("tests/config/test_uses.py",),
        ("uses-of-unchanged-settings", "given != before.get(key, given) and ", ""),
        ("uses-without-idle-values", " and given not in use.idle", ""),
        (
            "uses-that-one-of-several-models-lacks",
            "return any(one in self.values",
            "return all(one in self.values",
        ),
        (
            "path-of-digits",
            '("folder", "vtab", "fgvc", "table", "tsv"),\n        instead',
            '("folder", "vtab", "fgvc", "table", "tsv", "digits"),\n        instead',
        ),
    ),
    *in_file(
        "config/keys.py",
        ("tests/config/test_command_line.py",),
        (
            "keys-of-files-unchecked",
            "    if unknown:\n        raise",
            "    if False:\n        raise",
        ),
        (
            "keys-that-a-file-lacks",
            "    if missing:\n        raise",
            "    if False:\n        raise",
        ),
        ("sampling-steps-before-training-steps", 'not key.startswith("train.")', '"train." in key'),
    ),
    *in_file(
        "config/command_line.py",
        ("tests/config/test_command_line.py",),
        (
            "names-read-as-numbers",
            "item.value if is_text(item) else written",
            "getattr(item, 'value', written)",
        ),
        ("configs-of-the-package-first", "    if os.path.isfile(path):\n", "    if False:\n"),
        ("tilde-in-workdir", 'paths.local("--workdir", values.workdir or', "str(values.workdir or"),
    ),
    *in_file(
        "config/paths.py",
        ("tests/config/test_command_line.py",),
        ("tilde-kept", "expanded = os.path.expanduser(path)", "expanded = path"),
        ("addresses-are-folders", "if ADDRESS.match(path):", "if False:"),
        (
            "one-source-of-several",
            'parts = value.split(",") if key in SEVERAL else [value]',
            "parts = [value]",
        ),
    ),
    *in_file(
        "config/manual.py",
        ("tests/config/test_manual.py",),
        ("values-of-a-prompt-file-not-told", "if value is None:", "if False:"),
        ("comments-above-instead-of-beside", "found[line] = text", "found.setdefault(line, '')"),
    ),
    *in_file(
        "storage/workdir.py",
        ("tests/storage/test_workdir.py",),
        ("moved-images-refused", '    "data.path",\n', ""),
        ("paths-compared-as-text", "if key not in PATHS or not value:", "if True:"),
    ),
    *in_file(
        "console.py",
        ("tests/test_console.py",),
        ("broken-pipe-ends-the-run", "except OSError:", "except MemoryError:"),
        ("letters-that-an-encoding-lacks", '"errors": "backslashreplace"', '"errors": "strict"'),
    ),
)

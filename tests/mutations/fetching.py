"""Wrong changes to addresses, downloads, their cache, and published models."""

from tests.mutations.mutation import in_file

ADDRESSES = ("tests/storage/test_addresses.py",)
DOWNLOAD = ("tests/storage/test_download.py",)
CACHE = ("tests/storage/test_cache.py",)
OBTAIN = ("tests/importers/test_obtain.py",)
FETCHED = ("tests/jobs/test_fetched.py",)

MUTATIONS = (
    *in_file(
        "storage/addresses.py",
        ADDRESSES,
        ("names-in-buckets-as-they-are", "{quote(name)}", "{name}"),
        ("passwords-in-messages", '.rpartition("@")[2]', ""),
        ("hidden-files-in-the-cache", '.lstrip(".")', ""),
    ),
    *in_file(
        "storage/download.py",
        DOWNLOAD,
        ("download-begins-anew", 'headers["Range"] = f"bytes={have}-"', 'headers["Range"] = ""'),
        ("rest-of-any-file", 'headers["If-Range"] = same', "pass"),
        ("weak-names-are-strong", 'return "" if etag.startswith("W/") else etag', "return etag"),
        ("rest-from-any-place", " and int(place[1]) == have and same", " and same"),
        (
            "rest-of-another-file",
            " and int(place[1]) == have and same",
            " and int(place[1]) == have",
        ),
        (
            "first-bytes-of-nothing-known",
            "        self.part.unlink(missing_ok=True)\n        return",
            "        return",
        ),
        ("login-pages-are-files", '"text/html" in response', '"text/htm" == response'),
        ("web-pages-by-first-bytes", "if what.name in self.refused:", "if False:"),
        ("files-of-no-size", "(total is None and not whole)", "False"),
        ("sizes-unchecked", 'if said["total"] and self._size() != said["total"]:', "if False:"),
        ("room-unchecked", "if total and total - first > free:", "if False:"),
        ("no-end-of-tries", "tries = 1 if self._size() > before else tries + 1", "tries = 1"),
        ("tries-in-all", "tries = 1 if self._size() > before else tries + 1", "tries += 1"),
        ("busy-is-final", "if code in BUSY:", "if False:"),
        ("offline-is-waited-for", " and not self._reached:", " and False:"),
        ("redirects-unnamed", "        if response.history:\n", "        if False:\n"),
        ("buckets-without-gcloud", "if bucket else ''}\"\n", "if not bucket else ''}\"\n"),
    ),
    *in_file(
        "storage/cache.py",
        CACHE,
        ("fetched-unless-forbidden", "if missing and not download:", "if False:"),
        ("cache-unchecked", "    if found != expected:\n", "    if False:\n"),
        ("first-sha256-forgotten", "known = one.sha256 or _recorded(one)", "known = one.sha256"),
        ("two-fetch-at-once", "stack.enter_context(lock.hold(path, told))", "pass"),
        ("leftovers-of-a-kill-dropped", "if size(left) > size(part):", "if False:"),
        ("other-folder-unnamed", "{text} with {ENVIRONMENT}=FOLDER", "{text}"),
        ("record-of-something-else-kept", "    records.pop(one.path.name, None)\n", ""),
    ),
    *in_file(
        "backbones/write.py",
        OBTAIN,
        (
            "one-host-writes-every-cache",
            "if any_host or distributed.is_first():",
            "if distributed.is_first():",
        ),
        ("hosts-wait-for-each-cache", "    if not any_host:\n", "    if True:\n"),
    ),
    *in_file(
        "importers/obtain.py",
        OBTAIN,
        ("published-imported-each-time", "    if (folder / CONFIG).exists():\n", "    if False:\n"),
        (
            "published-without-options",
            "form, model.options, nothing",
            "form, type(model.options)(), nothing",
        ),
        ("files-of-any-folder", "if pathlib.PurePath(file).name != file", "if False"),
        ("weights-of-any-sha256", "name=file, sha256=digest)", "name=file)"),
        ("damaged-config-kept", "        cache.forget(config)\n", ""),
        ("folder-of-its-config", '.removesuffix(f"/{CONFIG}")', ""),
        ("commas-in-names", "if pathlib.Path(given).exists() else", "if False else"),
    ),
    *in_file(
        "jobs/import_weights.py",
        FETCHED,
        ("format-of-the-table-first", "config.format or (model.format", "(model.format"),
        (
            "options-of-the-table-first",
            "{name: config[name] for name in names if config[name]}",
            "{}",
        ),
    ),
    *in_file(
        "jobs/run.py",
        FETCHED,
        ("path-after-the-fetch", "    loading.check_path(config.data)", "    pass"),
    ),
    *in_file(
        "config/uses.py",
        ("tests/config/test_uses.py",),
        ("download-of-one-source-alone", 'source, *source.split(",")]', "source]"),
        ("download-of-backbones-side-by-side", 'given += flat.get("models.backbones", ())', "pass"),
    ),
    *in_file(
        "config/paths.py",
        ("tests/config/test_command_line.py",),
        ("addresses-of-backbones-are-paths", "if key in FETCHED and", "if False and"),
    ),
    *in_file(
        "progress.py",
        ("tests/test_progress.py",),
        ("bytes-before-count-twice", "    done = initial\n", "    done = 0\n"),
    ),
    *in_file(
        "storage/workdir.py",
        ("tests/storage/test_workdir.py",),
        ("asked-to-fetch-is-another-config", '    "download",\n', ""),
    ),
)

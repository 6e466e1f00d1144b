"""Wrong changes to what images with texts need: search, losses, tokenizers, tables, scores."""

from tests.mutations.mutation import in_file

BEAM = ("tests/decoding/test_beam.py",)
CONSTRAINTS = ("tests/decoding/test_constraints.py",)
SEQUENCE_LOSSES = ("tests/tasks/test_sequence_losses.py",)
BPE = ("tests/data/text/test_bpe.py",)
WORDS = ("tests/data/text/test_words.py",)
TABLES = ("tests/data/sets/test_image_text.py",)
BOXES = ("tests/data/test_boxes.py",)
ANSWERS = ("tests/metrics/test_answers.py",)
OVERLAP = ("tests/metrics/test_boxes.py",)
CAPTIONS = ("tests/metrics/test_captions.py",)

MUTATIONS = (
    *in_file(
        "decoding/beam.py",
        BEAM,
        ("beams-not-reordered", "            if beams > 1:\n", "            if False:\n"),
        ("beams-of-other-examples", "[:, None] * beams + beam", "[:, None] + beam"),
        ("all-beams-begin", "jnp.where(jnp.arange(beams) == 0, 0.0, -jnp.inf)", "jnp.zeros(beams)"),
        ("length-without-the-end", "(search.step + 1 - uncounted)", "(search.step - uncounted)"),
        ("length-penalty-ignored", "length**config.length_penalty", "length**1.0"),
        (
            "renormalized-after-the-rules",
            "            return jnp.where(gone, -jnp.inf, scores)",
            "            return jax.nn.log_softmax(jnp.where(gone, -jnp.inf, scores))",
        ),
        (
            "constraint-after-the-softmax",
            "            logits = jnp.where(allowed, logits, -jnp.inf)\n",
            "",
        ),
        (
            "ends-among-all-candidates",
            "ended[:, :beams], scores, *cont",
            "ended[:, -beams:], scores, *cont",
        ),
        ("an-end-goes-on", "jnp.argsort(ended, axis=1, stable=True)[:, :beams]", "first"),
        ("ends-before-min-length", "(length < config.min_length)", "(length < 0)"),
        ("one-token-too-many", "(length >= config.max_length)", "(length > config.max_length)"),
        (
            "forced-for-all-alike",
            "now = forced[:, search.step][:",
            "now = forced[:1, search.step][:",
        ),
        ("forced-tokens-walk-the-trie", "jnp.where(is_forced, node, after)", "after"),
        (
            "forced-tokens-always-count",
            "            if not config.count_forced:\n",
            "            if False:\n",
        ),
        ("padding-may-be-taken", "gone = (ids == PAD) | ", "gone = "),
        ("worst-first", "jnp.argsort(-found.scores", "jnp.argsort(found.scores"),
        (
            "ngrams-one-shorter",
            "step, config.no_repeat, vocabulary",
            "step, config.no_repeat - 1, vocabulary",
        ),
        ("start-is-not-read", "constant_values=START)  # [B", "constant_values=PAD)  # [B"),
    ),
    *in_file(
        "decoding/constraints.py",
        CONSTRAINTS,
        (
            "an-answer-never-ends",
            "return mask.at[:, END].max(jnp.asarray(self.ends)[node])",
            "return mask",
        ),
        ("trie-goes-nowhere", "there & (self._token(child) == ids[:, None])", "there"),
        ("range-with-its-end", "(ids < self.high)", "(ids <= self.high)"),
        ("sets-of-answers-exchanged", "[np.asarray(sets)])", "[np.asarray(sets)[::-1]])"),
        ("sizes-of-tries-all-differ", "size = _next_power(len(token))", "size = len(token)"),
        (
            "masks-one-token-late",
            "return constraint.advance(node, ids), constraint.allowed(node, vocabulary)",
            "return constraint.advance(node, ids), constraint.allowed("
            "constraint.advance(node, ids), vocabulary)",
        ),
    ),
    *in_file(
        "tasks/sequence_losses.py",
        SEQUENCE_LOSSES,
        ("smoothing-with-the-target", "(1 - smoothing - other) * plain", "(1 - smoothing) * plain"),
        (
            "smoothing-over-all-ids",
            "jnp.sum(allowed, -1), -jnp.sum(",
            "logits.shape[-1], -jnp.sum(",
        ),
        (
            "the-best-dropped",
            "jnp.argsort(jnp.where(counted, flat, jnp.inf)",
            "jnp.argsort(jnp.where(counted, -flat, jnp.inf)",
        ),
        ("dropped-of-all-places", "[jnp.sum(counted)]", "[len(flat)]"),
        ("dropped-tokens-count", "total(nll), jnp.sum(kept))", "total(nll), jnp.sum(weights))"),
        ("dropped-by-the-plain-loss", "keep_best(loss, weights", "keep_best(nll, weights"),
        ("divergence-one-sided", "(jnp.exp(a) - jnp.exp(b)) * apart", "jnp.exp(a) * apart"),
        (
            "r-drop-in-the-plain-loss",
            "return Sums(summed, total(nll)",
            "return Sums(summed, summed",
        ),
        (
            "confidence-of-the-batchs-first",
            "loss * confidence[:, None], nll",
            "loss * confidence[0], nll",
        ),
    ),
    *in_file(
        "data/text/bpe.py",
        BPE,
        (
            "ids-without-the-special-ones",
            "found[int(symbol)] = len(NAMES) + number",
            "found[int(symbol)] = number",
        ),
        (
            "ids-are-the-pieces",
            "found[int(symbol)] = len(NAMES) + number",
            "found[int(symbol)] = int(symbol)",
        ),
        ("ids-in-any-order", "if order != sorted(order) or sorted(", "if sorted("),
    ),
    *in_file(
        "data/text/tokenizer.py",
        BPE,
        ("codes-behind-bins", "return self.words + 1\n", "return self.words + 1 + self.bins\n"),
        ("no-place-for-the-mask", "return self.words + 1\n", "return self.words\n"),
        (
            "text-behind-the-end",
            "            if id_ == END:\n                break\n",
            "            if id_ == END:\n                continue\n",
        ),
        ("bins-one-too-many", "if number >= many:", "if number > many:"),
        ("any-model-will-do", "if vocabulary != self.layout.size:", "if False:"),
    ),
    *in_file(
        "data/text/words.py",
        WORDS,
        ("rare-words-first", "(-counts[piece], piece)", "(counts[piece], piece)"),
        ("words-over-bytes", "_FIRST_WORD = _FIRST_BYTE + 256", "_FIRST_WORD = _FIRST_BYTE"),
    ),
    *in_file(
        "data/sets/image_text.py",
        TABLES,
        (
            "columns-by-their-order",
            "[heading.index(name) for name in wanted]",
            "list(range(len(wanted)))",
        ),
        (
            "images-of-other-rows",
            "(table.parent / rows[index].image)",
            "(table.parent / rows[-1 - index].image)",
        ),
        (
            "lines-from-0",
            'enumerate(read_text(table).split("\\n"), 1)',
            'enumerate(read_text(table).split("\\n"), 0)',
        ),
        ("fingerprint-without-texts", "|{json.dumps(told)}|", "|"),
    ),
    *in_file(
        "data/sets/image_tsv.py",
        TABLES,
        ("standard-base64-alone", "cell.translate(_STANDARD)", "cell"),
        (
            "lines-begin-late",
            "places.append((begin, len(line)))",
            "places.append((begin + 1, len(line)))",
        ),
    ),
    *in_file(
        "data/boxes.py",
        BOXES,
        (
            "height-for-width",
            "np.array([width, height, width, height])",
            "np.array([height, width, height, width])",
        ),
        ("one-bin-more", "return (bins - 1) / frame", "return bins / frame"),
        (
            "bins-of-the-file",
            "np.asarray(boxes) * side / sizes * factor",
            "np.asarray(boxes) * factor",
        ),
    ),
    *in_file(
        "metrics/answers.py",
        ANSWERS,
        ("targets-as-they-are", "in set(map(normalized, known))", "in set(known)"),
        (
            "people-judge-themselves",
            "others = alike.sum() - alike",
            "others = alike.sum() + 0 * alike",
        ),
        ("two-people-are-enough", "_ENOUGH = 3", "_ENOUGH = 2"),
        ("numbers-as-words", "_NUMBERS.get(word, word)", "word"),
    ),
    *in_file(
        "metrics/boxes.py",
        OVERLAP,
        (
            "union-with-what-is-shared",
            "area(found) + area(meant) - shared",
            "area(found) + area(meant)",
        ),
        ("more-than-half", "np.mean(overlaps >= enough)", "np.mean(overlaps > enough)"),
    ),
    *in_file(
        "metrics/captions.py",
        CAPTIONS,
        ("captions-of-other-images", "enumerate(captions)}", "enumerate(captions[::-1])}"),
        ("words-with-capitals", "_WORD.findall(caption.lower())", "_WORD.findall(caption)"),
    ),
)

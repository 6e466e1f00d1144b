"""Token ids that every vocabulary of text begins with; their order is fairseq's."""

START, PAD, END, UNKNOWN = range(4)
NAMES = ("<s>", "<pad>", "</s>", "<unk>")

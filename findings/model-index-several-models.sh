#!/usr/bin/env bash
# huggingface_hub reads a model card whose `model-index` holds two models as one model.
#
# Version: huggingface_hub 2.4.0 (pinned below).
# Expected: the two models of the list keep their own results, or the card is refused.
# Real: ModelCard gives one model_name, that of the last entry, and ascribes all results to it; no
# warning is given. Saved again, the card holds one model with the figures of both.
# Output seen:
#   model_name: second
#   results: [('accuracy', 10.0), ('accuracy', 20.0)]
#   models after saving: ['second']
# The script fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check huggingface_hub==2.4.0
cat >"$folder/card.py" <<'P'
import yaml
from huggingface_hub import ModelCard

def model(name, value):
    metric = {"type": "accuracy", "value": value}
    dataset = {"name": "ImageNet", "type": "imagenet-1k"}
    result = {"task": {"type": "image-classification"}, "dataset": dataset, "metrics": [metric]}
    return {"name": name, "results": [result]}

index = {"model-index": [model("first", 10.0), model("second", 20.0)]}
card = ModelCard(f"---\n{yaml.safe_dump(index)}---\n# Two models\n")
results = [(one.metric_type, one.metric_value) for one in card.data.eval_results]
saved = yaml.safe_load(str(card).split("---")[1])["model-index"]
print("model_name:", card.data.model_name)
print("results:", results)
print("models after saving:", [one["name"] for one in saved])
P
"$folder/venv/bin/python" "$folder/card.py" | tee "$folder/seen"
diff "$folder/seen" - <<'S'
model_name: second
results: [('accuracy', 10.0), ('accuracy', 20.0)]
models after saving: ['second']
S

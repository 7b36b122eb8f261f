"""Deliberate faults, each of which the tests beside it must notice: `make mutants`, or
`python tests/mutants.py WORD` for those that hold the word in the file's name or the code.

Each is put into a copy of the working tree, where its tests must then fail.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
FLOORS = ("qlora_search", "tune", "search_spaces", "trainable", "analysis", "tests")
# (file, the tests that must fail) -> what stands there once, and what is put in its place
MUTANTS = {
    ("trainable/evaluation/validation.py", "evaluation/test_validation.py"): (
        (
            "rates = {name: getattr(scores, name) for name in RATES}",
            "rates = {n: getattr(scores, {'success': 'inform'}.get(n, n)) for n in RATES}",
        ),
        ('if response == "lexicalised"', 'if response != "lexicalised"'),
    ),
    ("trainable/evaluation/evaluator.py", "evaluation/test_validation.py"): (
        ("100 * len(set(said)) / len(said)", "100 * len(said) / len(said)"),
    ),
    ("trainable/corpus/goals.py", "corpus/test_goals.py"): (
        ("changed, key=lambda domain: _has_booking(turn.state, domain),", "changed,"),
        ("if latest and _gives", "if _gives"),
        ('CANONICAL.get(slot.lower()) == "REFERENCE"', 'slot == "ref"'),
    ),
    ("trainable/engine/check/compare.py", "engine/test_check.py"): (
        ("NOISES * expected.noise_steps", "NOISES * expected.noise_nats"),
        ("return compare_replies(expected, found, 4 * near)", "return None"),
    ),
    ("trainable/system/cache.py", "model/test_identity.py"): (
        ("is_now.st_mtime_ns, is_now.st_ctime_ns, is_now.st_ino", "is_now.st_mtime_ns"),
    ),
    ("tune/workers/ray_tune.py", "tune/test_packing.py"): (
        ("DEFAULT_ENV_VARS={}, ", ""),
        ('if not n.startswith("AWS_")', ""),
    ),
    ("tune/plan/corpora.py", "tune/test_corpora.py"): (
        ("[*map(name_content, files)], text,", "text,"),
        ("[*map(name_content, files)], text,", "[*map(name_content, files)],"),
    ),
    ("trainable/model/fingerprint.py", "model/test_identity.py"): (
        ("min(CHUNK_BYTES, end - at), at", "64, at"),
        ("all(a == b for a, b in zip(then, now, strict=False))", "then == now"),
    ),
    ("trainable/model/unpacked.py", "export/test_gguf.py"): (
        ("if whole and ids[-1] not in whole", "if False"),
        ("is not None and not is_beside", "is not None"),
    ),
    ("trainable/training_curve.py", "trainable/test_training_curve.py"): (
        ("self.stride *= 2", "self.stride *= 1"),
        ("if self.points and self.points[-1].n_steps < self.stride", "if False"),
    ),
    ("trainable/engine/train/meter.py", "engine/test_reference.py"): (
        ("nats if stand.begins else slot.step_nats + nats", "nats"),
    ),
    ("trainable/result.py", "evaluation/test_validation.py"): (
        ("tokens_seen / seconds", "turns_seen / seconds"),
        ("**vars(losses), ", ""),
    ),
    ("trainable/corpus/prompt.py", "corpus/test_prompt.py"): (
        ('"booked" in config.context and turn.booked', '"booked" in config.context'),
        ("sorted(turn.booked)", "turn.booked"),
        ("plans_acts(config) and turn.acts", "turn.acts"),
        ("plans_acts(config) and turn.acts", "plans_acts(config)"),
        ("if n < 10", "if n <= 10"),
        ("if slots and domain", "if domain"),
        ("len(database.query(domain, slots))", "len(database.query(domain, {}))"),
        ("findall(turn.delexicalised)", "findall(turn.response)"),
        ("turn.requested if config.requests else {}", "turn.requested"),
        ("if value != ASKED", "if value"),
    ),
    ("trainable/corpus/acts.py", "corpus/test_acts.py"): (
        ("() if value == ASKED else ", ""),
        ("!= NOTHING", "!= ASKED"),
        ("if not isinstance(annotation, Mapping)", "if not annotation"),
        ("dict.fromkeys(spell_slot", "list(spell_slot"),
    ),
    ("trainable/corpus/sgd.py", "corpus/test_sgd.py"): (
        ('("slot_name", "slot_value_list"), ', ""),
        ('ACTS.get(act["act"], act["act"])', 'act["act"]'),
    ),
    ("trainable/corpus/rewrite.py", "tune/test_sample.py"): (
        ('{"dialog_act": {}, "', '{**acts[name][turn["turn_id"]], "'),
    ),
    ("trainable/corpus/encode.py", "corpus/test_prompt.py"): (
        ("sum(lengths[: end + 1]) <= room", "sum(lengths[: end + 1]) < room"),
        ("sum(lengths[start - 1 : end]) <= room", "sum(lengths[start - 1 : end]) < room"),
        ("[*tokens, special.eos]", "[*tokens]"),
        (".text.rpartition(REPLY)[2]", ".text"),
    ),
    ("trainable/corpus/encode.py", "corpus/test_chat.py"): (
        ("tokenise_apart if special.chat is None else tokenise_in_chat", "tokenise_apart"),
        ("prefix_ids if chat.begin else ()", "prefix_ids"),
    ),
    ("trainable/solo/passes.py", "corpus/test_chat.py"): (
        ("cut_at(reply, self.task.special.eos)", "reply"),
    ),
    ("trainable/engine/slots/data_order.py", "engine/test_data_order.py"): (
        ("default_rng([self.seed, epoch])", "default_rng([self.seed, 0])"),
        ("while turns < self.batch_turns", "while turns <= self.batch_turns"),
        ("completes=number == len(kept) - 1", "completes=number == 0"),
        (
            "Piece(tuple(group), targets,",
            "Piece(tuple(group), sum(int(d.window.is_target.sum()) for d in group),",
        ),
    ),
    ("trainable/engine/layers/passes.py", "engine/test_train_pass.py"): (
        ("1.0 / piece.batch_targets", "1.0 / sum(len(d.window.targets) for d in piece.draws)"),
    ),
    ("trainable/solo/train.py", "trainable/test_plain.py"): (
        (
            "nats / piece.batch_targets",
            "(nats / sum(len(d.window.targets) for d in piece.draws))",
        ),
    ),
    ("trainable/engine/slots/optimizer.py", "engine/test_schedules.py"): (
        ("max(turns_seen, warmup), 0)", "turns_seen, 0)"),
        ("left_turns / max(end_turns - warmup, 1)", "left_turns / end_turns"),
        ("0.5 * (1 - math.cos(math.pi * left))", "math.sin(math.pi / 2 * left)"),
        ("config.decay_fraction * end_turns", "config.decay_fraction * (end_turns - warmup)"),
        ("min(goal_turns, config.train_turns)", "goal_turns"),
        ("(turns_seen + config.batch_turns) / warmup", "turns_seen / warmup"),
        ("1 - rate * settings.weight_decay", "1 - settings.weight_decay"),
    ),
    ("trainable/engine/slots/adamw.py", "engine/test_schedules.py"): (
        ("rate / correction1", "rate"),
        (".clamp(max=1.0)", ""),
    ),
    ("trainable/engine/slots/optimizer.py", "engine/test_knobs.py"): (
        ("settings.learning_rate * settings.b_over_a", "settings.learning_rate"),
        ("self.bank.grads[rows].masked_fill_(is_frozen, 0.0)", "pass"),
        ("torch.where(is_frozen, still[:, None, None], paces)", "paces"),
    ),
    ("trainable/engine/layers/dora.py", "engine/test_lora.py"): (
        ("b, beta=2)", "b)"),
        ("self.values / norms, 1.0)", "self.values / norms, 0.0)"),
        ("torch.where(self.is_used, along / norms, 0.0)", "along / norms"),
        ("along + (b * of_b).sum(1)", "along"),
        ("factors if layer.now.dropout is None else factors - 1", "factors"),
        ("grad_b.addcmul_(of_b, factors[:, None])", "grad_b.add_(of_b)"),
    ),
    ("trainable/engine/layers/add_adapters.py", "engine/test_lora.py"): (
        ("total.addmm_(grad, base.weight)", "pass"),
        ("of[layer] for layer in ctx.adapted", "grad for grad in grads"),
    ),
    ("trainable/engine/layers/siblings.py", "engine/test_lora.py"): (
        ("each.magnitudes is None and", ""),
        ("if x is not read or", "if"),
    ),
    ("trainable/model/fp8.py", "engine/test_fp8.py"): (
        ("numbers.abs().amax(1, keepdim=True)", "numbers.abs().amax()[None, None]"),
        ("numbers if factors is None else numbers * factors", "numbers"),
        ("layer.weight.float() * layer.scales.mT", "layer.weight.float()"),
        (
            "turned, scales = first.joint, first.joint_scales",
            "turned, scales = first.turned.contiguous(), first.scales",
        ),
        ("if capability < CAPABILITY", "if capability > CAPABILITY"),
    ),
    ("trainable/combinations.py", "engine/test_fp8.py"): (
        ('compute not in ("auto", "bf16")', 'compute not in ("auto", "bf16", "fp16")'),
    ),
    ("trainable/engine/layers/noise.py", "engine/test_knobs.py"): (
        ("length**-0.5", "tokens**-0.5"),
        ('combine(config.seed, "noise", draw.place)', 'combine(config.seed, "noise", start)'),
    ),
    ("trainable/model/principal.py", "engine/test_knobs.py"): (
        ("(values / scale).sqrt()", "values.sqrt()"),
    ),
    ("trainable/solo/pissa.py", "engine/test_knobs.py"): (
        ("return y - self.scales[path]", "return y + self.scales[path]"),
        ("[weights[b], -own_b]", "[weights[b], own_b]"),
    ),
    ("trainable/solo/model.py", "engine/test_knobs.py"): (
        ("(1.0, config.lora_plus_ratio)", "(1.0, 1.0)"),
    ),
    ("trainable/engine/slots/task.py", "engine/test_knobs.py"): (
        ("max(1, round(share * len(dialogues)))", "len(dialogues)"),
    ),
    ("trainable/engine/reference.py", "engine/test_reference.py"): (
        (".norm(dim=1).detach()", ".norm(dim=1)"),
    ),
    ("trainable/storage/adapter_ranks.py", "trainable/test_variants.py"): (
        ("for path, own in alphas.items() if own != alpha", "for path, own in ()"),
        ("lora_rank=2 * config.lora_rank", "lora_rank=config.lora_rank"),
    ),
    ("tune/export/mean.py", "export/test_average.py"): (
        ("b * (own / scale)", "b"),
        ("scale / len(pairs)", "scale"),
        ("squares[rank:].sum()", "squares[:rank].sum()"),
    ),
    ("trainable/evaluation/sampled.py", "tune/test_sample.py"): (
        ("if text and list_placeholders(text) == own", "if text"),
        ("max(fitting", "min(fitting"),
    ),
    ("tune/ceilings.py", "tune/test_ceilings.py"): (
        ("quoted = quote_corpus(dialogues, responses)", "quoted = quote_corpus(dialogues)"),
    ),
    ("trainable/model/ranks.py", "trainable/test_variants.py"): (
        ("2 * block < n_blocks", "2 * block <= n_blocks"),
        ("block % 2 == 1", "block % 2 == 0"),
    ),
    ("trainable/engine/decode/own_replies.py", "engine/test_own_replies.py"): (
        ("put_reply)", "lambda task, dialogue, *written: dialogue)"),
        ("response=reply, delexicalised=text", "response=reply"),
    ),
    ("trainable/engine/decode/replies.py", "engine/test_own_replies.py"): (
        (" or follows_own(slot.config)", ""),
    ),
    ("trainable/engine/decode/rows.py", "engine/test_contract.py"): (
        ("Layout.of(counts.tolist()", "Layout.of(counts.tolist()[::-1]"),
    ),
    ("trainable/engine/decode/shared_cache.py", "engine/test_contract.py"): (
        ("prefix < prefixes", "prefix <= prefixes"),
    ),
    ("tune/search/rungs.py", "tune/test_rungs.py"): (
        ("value >= find_quantile", "value > find_quantile"),
        ("(before, 1 - 1 / self.eta)", "(before, 1 / self.eta)"),
        ("self._promote(math.floor)", "self._promote(math.ceil)"),
        (
            "sorted(self.ranked, reverse=True):  # the highest",
            "sorted(self.ranked):  # the highest",
        ),
        ("gone < math.ceil(due / self.eta)", "gone <= math.ceil(due / self.eta)"),
        ("(place / (len(ranked) + 1), -turns)", "(place, -turns)"),
    ),
    ("tune/search/parking.py", "tune/test_parking.py"): (
        ("> self.limit_gib * GIB", "> 2 * self.limit_gib * GIB"),
        ("self.sizes.get(trial) == 0", "False"),
    ),
    ("tune/search/trials.py", "tune/test_points.py"): (
        ('(has_earned or state == "WAITING")', '(state == "WAITING")'),
    ),
    ("tune/search/search.py", "tune/test_search.py"): (('self._next_promoted("idle")', "None"),),
    ("tune/search/search.py", "tune/test_confirm.py"): (
        ("is_racing and self.is_decided()", "False"),
    ),
    ("tune/search/table.py", "tune/test_search.py"): (
        ("all(map(self._is_past_rungs, racing))", "True"),
        ("return reached[-1] if", "return self.milestones(trial)[len(reached)] if"),
        ("if m.turns <= turns_seen", "if m.turns < turns_seen"),
        (
            "trial.turns_seen >= trial.config.train_turns",
            "trial.turns_seen > trial.config.train_turns",
        ),
    ),
    ("analysis/claims/variance.py", "analysis/claims/test_contrasts.py"): (
        ("shares + shares[at] - 2 * self.shares[place]", "shares - self.shares[place]"),
        ("of_means = variance[..., None] *", "of_means = 0 * variance[..., None] *"),
        ("projection, scores) / df", "projection, scores) / (df + 1)"),
    ),
    ("analysis/noise.py", "analysis/test_ranking.py"): (
        ("(sums[:, 0] + sums[:, 1]) / n_dialogues", "(sums[:, 0] + sums[:, 0]) / n_dialogues"),
    ),
    ("analysis/cost.py", "analysis/test_cost.py"): (
        ("sum(w.replies for w in works)", "2 * sum(w.replies for w in works)"),
        ("sum(e.n_turns for e in trial.evals if e.bleu is not None)", "trial.evals[-1].n_turns"),
        ("self.train_turns_per_s[batch] * self.tokens_a_turn", "self.train_turns_per_s[batch]"),
        ("self.train_turns_per_s if n <= dialogues]", "self.train_turns_per_s]"),
    ),
    ("analysis/curves.py", "analysis/test_importance.py"): (
        ('if t.state != "FAIL" and not t.is_confirmation', 'if t.state != "FAIL"'),
    ),
    ("tune/search/confirm.py", "analysis/claims/test_contrasts.py"): (
        ("return (4,) * front +", "return (2,) * front +"),
    ),
    ("tune/bench/usual.py", "trainable/test_usual_ways.py"): (
        ("return done / seconds", "return done / seconds / 2"),
        ("return len(prompts)", "return 2 * len(prompts)"),
    ),
    ("trainable/storage/checkpoint.py", "trainable/test_checkpoint.py"): (
        ("elif to_train and there.is_bare:", "elif False:"),
    ),
    ("trainable/engine/best_slots.py", "tune/test_packing.py"): (
        ("slots >= NOT_BEFORE and ", ""),
        ("rate >= ENOUGH * most", "rate >= most"),
    ),
    ("analysis/labels.py", "analysis/test_verdict.py"): (
        ("else shorten_pattern(str(value))", "else str(value)"),
    ),
    ("analysis/records.py", "analysis/test_records.py"): (
        ("t.state == RUNNING and t.id in self.parked", "t.id in self.parked"),
    ),
    ("tune/workers/pool.py", "tune/test_packing.py"): (("min(slots, own.slots)", "slots"),),
    ("tune/search/live_ledger.py", "tune/test_driver_memory.py"): (
        ("replace(result, **UNSHOWN, **own)", "result"),
    ),
    ("tune/workers/bridge.py", "tune/test_driver_memory.py"): (("trial.config.clear()", "pass"),),
    ("tune/search/points.py", "tune/test_points.py"): (
        ("if self.seen is None or self.stand != stand:", "if self.seen is None:"),
    ),
    ("analysis/lines.py", "analysis/test_records.py"): (
        ("OBJECT = msgspec.json.Decoder(dict[str, Any])", "OBJECT = msgspec.json.Decoder()"),
    ),
    ("trainable/errors.py", "tune/test_messages.py"): (
        ("if SET not in flags and own in flags", "if own in flags"),
        ('command = "" if SET in flags else "tune.run "', 'command = ""'),
    ),
}


def is_noticed(tree: Path, file: str, tests: str, old: str, new: str) -> bool:
    path = tree / file
    text = path.read_text()
    assert text.count(old) == 1, (
        f"{file} has {old!r} {text.count(old)} times: mend tests/mutants.py"
    )
    path.write_text(text.replace(old, new))
    command = [sys.executable, "-m", "pytest", "-x", "-q", f"tests/{tests}"]
    environment = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True)
    path.write_text(text)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    failed = next((line for line in done.stdout.splitlines() if line.startswith("FAILED")), "")
    verdict = f"noticed by {failed[7:]}" if failed else "SURVIVED"
    print(f"{file}: {old!r} -> {new!r} {verdict}", flush=True)
    return bool(failed)


def main(word: str = "") -> int:
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        for floor in FLOORS:
            shutil.copytree(
                ROOT / floor, tree / floor, ignore=shutil.ignore_patterns("__pycache__")
            )
        for name in ("pyproject.toml", "README.md"):
            shutil.copy(ROOT / name, tree)
        (tree.parent / "shared").symlink_to(ROOT.parent / "shared")
        results = [
            is_noticed(tree, *place, *fault)
            for place, faults in MUTANTS.items()
            for fault in faults
            if word in f"{place[0]} {fault[0]}"
        ]
    print(f"{sum(results)} of {len(results)} faults were noticed")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

"""The code of a card: how to load the model, and how to ask it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import takewhile

from trainable.corpus.chat import Chat
from trainable.corpus.load import load_corpus
from trainable.corpus.prompt import Segment, list_messages, render
from trainable.corpus.subset import validation_subset
from trainable.model.packable import is_encoder_decoder
from trainable.trial import TrialConfig

# arguments of `generate` for what has left transformers' core for a repository of the Hub
OUTSIDE = {
    "contrastive": ', custom_generate="transformers-community/contrastive-search", '
    "trust_remote_code=True"
}


@dataclass(frozen=True, kw_only=True)
class Example:
    """One validation turn: what stood in front of the reply, and the reply given."""

    segments: tuple[Segment, ...]
    reply: str
    messages: tuple[Mapping[str, str], ...] = ()  # the same in the base model's chat; (): in lines
    end: str = ""  # the token that closes a reply there

    @property
    def opening(self) -> str:
        """The text up to the first reply."""
        return "".join(s.text for s in takewhile(lambda s: not s.is_target, self.segments))


def pick_example(
    config: TrialConfig, chat: Chat | None, split: str, responses: dict[str, list[dict[str, str]]]
) -> Example:
    """The second system turn of the first dialogue (its only one, where it has one)."""
    corpus = load_corpus(config.corpus)
    (dialogue,) = validation_subset(corpus.get_split(split), 1)
    turn = min(1, len(dialogue.turns) - 1)
    known = replace(dialogue, turns=dialogue.turns[: turn + 1])
    segments = render(known, config, corpus.database, chat)
    messages = (
        list_messages(known, config, corpus.database, takes_system=bool(chat.told))[:-1]
        if chat
        else ()
    )
    return Example(
        segments=tuple(segments[:-1]),
        reply=responses[dialogue.id][turn]["response"],
        messages=tuple(messages),
        end=chat.end if chat else "",
    )


def show_loading(config: TrialConfig, base: str | None, where: str, dtype: str) -> str:
    """Six statements of Python at the most; `base` None: for a merged model."""
    if base is None:
        return fence(
            "from transformers import AutoModelForCausalLM, AutoTokenizer",
            f'model = AutoModelForCausalLM.from_pretrained("{where}", dtype="{dtype}")',
            f'tokenizer = AutoTokenizer.from_pretrained("{where}")',
        )
    quantiser, ending = show_quantiser(config, dtype)
    kind = "AutoModelForSeq2SeqLM" if is_encoder_decoder(config) else "AutoModelForCausalLM"
    names = f"{kind}, AutoTokenizer" + (", BitsAndBytesConfig" if quantiser else "")
    argument = ", quantization_config=quantised" if quantiser else ""
    return fence(
        "from peft import PeftModel",
        f"from transformers import {names}",
        *([f"quantised = {quantiser}"] if quantiser else []),
        f"base = {kind}.from_pretrained(",
        f'    "{base}", dtype="{dtype}"{argument}',
        f"){ending}",
        f'model = PeftModel.from_pretrained(base, "{where}")',
        f'tokenizer = AutoTokenizer.from_pretrained("{base}")',
    )


def show_quantiser(config: TrialConfig, dtype: str) -> tuple[str, str]:
    """(the quantisation's argument or nothing, what brings the weights back to numbers)."""
    if config.quantisation == "int8":
        return "BitsAndBytesConfig(load_in_8bit=True)", ""
    if config.quantisation in ("nf4", "fp4"):
        settings = (
            f'    load_in_4bit=True,\n    bnb_4bit_quant_type="{config.quantisation}",\n'
            f"    bnb_4bit_use_double_quant={bool(config.double_quantisation)},\n"
            f'    bnb_4bit_compute_dtype="{dtype}",\n'
        )
        return f"BitsAndBytesConfig(\n{settings})", ".dequantize()"
    return "", ""


def show_pipeline(
    example: Example, silent_ids: tuple[int, ...], where: str, config: TrialConfig
) -> str:
    """Three lines, after those that load the model; in chat a whole conversation as messages, in
    lines the first user's words."""
    said = json.dumps(example.opening, ensure_ascii=False)
    messages = ["messages = [", *(f"    {spell(m)}," for m in example.messages), "]"]
    arguments = [
        *(["messages"] if example.messages else [said, "add_special_tokens=True"]),
        f'generation_config=GenerationConfig.from_pretrained("{where}")',
        *(["skip_special_tokens=False"] if silent_ids else []),  # some are placeholders
        "return_full_text=False",
    ]
    outside = OUTSIDE.get(config.decoding, "").removeprefix(", ").split(", ")
    lines = [f"    {argument}," for argument in [*arguments, *outside] if argument]
    # which a text keeps where it is no special token
    cut = f".partition({json.dumps(example.end)})[0]" if example.end else ""
    return fence(
        "from transformers import GenerationConfig, pipeline",
        *(messages if example.messages else ()),
        'write = pipeline("text-generation", model=model, tokenizer=tokenizer)',
        *("replies = write(", *lines, ")"),
        f'print(replies[0]["generated_text"]{cut}.strip())',
    )


def spell(message: Mapping[str, str]) -> str:
    return json.dumps(dict(message), ensure_ascii=False)


def show_asking(
    example: Example,
    prefix_ids: tuple[int, ...],
    silent_ids: tuple[int, ...],
    where: str,
    config: TrialConfig,
) -> str:
    """`silent_ids`: as `list_silent` gives them."""
    # an encoder reads the conversation up to an end, and the decoder begins anew
    ending, start = (
        ([], "len(ids) :")
        if not is_encoder_decoder(config)
        else (["ids += [tokenizer.eos_token_id]"], "1:")
    )
    pieces = [
        f"    ({json.dumps(s.text, ensure_ascii=False)}, {s.is_target}),"
        + ("  # True: one of its own lines, closed by the token that ends a reply" * is_first)
        for s, is_first in mark_first_target(example.segments)
    ]
    return fence(
        "import torch",
        "from transformers import GenerationConfig",
        "",
        "conversation = [",
        *pieces,
        "]",
        f'decoding = GenerationConfig.from_pretrained("{where}")',
        f"ids = {list(prefix_ids)}",
        "for text, is_own in conversation:",
        "    ids += tokenizer(text, add_special_tokens=False).input_ids",
        "    ids += [decoding.eos_token_id] * is_own",
        *ending,
        "prompt = torch.tensor([ids]).to(model.device)",
        "made = model.generate(input_ids=prompt, "
        f"generation_config=decoding{OUTSIDE.get(config.decoding, '')})",
        *show_reply(f"made[0, {start}]", silent_ids),
    )


def show_reply(tokens: str, silent_ids: tuple[int, ...]) -> list[str]:
    if not silent_ids:
        return [f"print(tokenizer.decode({tokens}, skip_special_tokens=True).strip())"]
    return [  # other special tokens are placeholders
        f"said = [i for i in {tokens}.tolist() if i not in {silent_ids}]",
        "print(tokenizer.decode(said).strip())",
    ]


def mark_first_target(segments: tuple[Segment, ...]) -> list[tuple[Segment, bool]]:
    first = next((i for i, s in enumerate(segments) if s.is_target), None)
    return [(s, i == first) for i, s in enumerate(segments)]


def fence(*lines: str, language: str = "python") -> str:
    return "\n".join([f"```{language}", *lines, "```"])

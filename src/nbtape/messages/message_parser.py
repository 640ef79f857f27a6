"""The parser of messages: markdown-it with rules for fences, drafts and elements with code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from markdown_it import MarkdownIt

from nbtape.messages.code_tags import code_tag_rule
from nbtape.messages.drafts import draft
from nbtape.messages.fences import fence, fence_after_prose
from nbtape.messages.rule_lines import paragraph_before

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markdown_it.ruler import RuleOptionsType
    from markdown_it.token import Token

    from nbtape.messages.rule_lines import BlockRule

#: Only blocks matter. Without the rule for indented code, fences may be indented; without that for HTML, they may
#: follow a tag; without underlined headings, they may be deeply indented below a paragraph. Link definitions take
#: quadratic time in markdown-it-py 3.0.
_DISABLED: Final = ["inline", "code", "html_block", "lheading", "reference"]


def parse(text: str, code_tags: Sequence[str] = ()) -> list[Token]:
    """Parse a message. Tokens of type "fence" have a `fences.Span` as `meta["span"]`.

    Args:
        text: The message, with line feeds.
        code_tags: See `MarkdownCodeExtractor`.
    """
    # A parser is not kept, because its rule cache is not safe among threads.
    parser = MarkdownIt("commonmark").disable(_DISABLED)
    ruler = parser.block.ruler
    options: RuleOptionsType = {"alt": ["paragraph", "reference", "blockquote", "list"]}
    rules: list[BlockRule] = [draft, fence, fence_after_prose]
    ruler.at("fence", fence, options)
    ruler.before("fence", "draft", draft, options)
    if code_tags:
        rules.append(code_tag_rule(code_tags))
        ruler.before("fence", "code_tag", rules[-1], options)
    ruler.before("heading", "fence_after_prose", fence_after_prose, options)
    ruler.at("paragraph", paragraph_before(rules))
    return parser.parse(text)

"""Templates render as Hugging Face's and llama-cpp-python's renderers do."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime

import pytest

from blazen.chat import ChatTemplate
from blazen.errors import UnsupportedError, ValidationError
from blazen.types.chat import ChatMessage, Tool
from tests.chat import templates

USER = ChatMessage.user("Hi")


def render(source: str, **values) -> str:
    return ChatTemplate(source, bos="<s>", eos="</s>", name="tiny").render([USER], **values)


def test_lines_that_hold_a_block_alone_leave_no_trace():
    source = """\
{% for m in messages %}
  {% if true %}
{{ m.content }}!
  {% endif %}
{% endfor %}"""
    assert render(source) == "Hi!\n"


def test_json_is_written_as_it_is_read_by_people():
    tools = [Tool("f", "<é> & 'q'", {"b": 1, "a": [True, None]})]
    written = render("{{ tools[0].function | tojson if tools }}", tools=tools)
    assert written == (
        '{"name": "f", "description": "<é> & \'q\'", "parameters": {"b": 1, "a": [true, null]}}'
    )
    assert (
        render("{{ {'b': 1, 'a': '\\u00e9'} | tojson(indent=1) }}") == '{\n "b": 1,\n "a": "é"\n}'
    )
    assert render("{{ {'b': 1, 'a': 2} | tojson(separators=(',', ':'), sort_keys=true) }}") == (
        '{"a":2,"b":1}'
    )


def test_loops_can_be_left():
    skip = "{% if n == 1 %}{% continue %}{% endif %}"
    leave = "{% if n == 3 %}{% break %}{% endif %}"
    assert render(f"{{% for n in range(9) %}}{skip}{leave}{{{{ n }}}}{{% endfor %}}") == "02"


def test_the_mark_of_what_a_training_learns_from_is_its_body():
    assert render("a{% generation %}{{ messages[0].content }}{% endgeneration %}b") == "aHib"


def test_the_date_of_today():
    before = datetime.now().year
    assert before <= int(render("{{ strftime_now('%Y') }}")) <= datetime.now().year


def test_marks_of_begin_and_end_are_there():
    assert render("{{ bos_token }}{{ eos_token }}{{ add_generation_prompt }}") == "<s></s>True"


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.append(1) }}",
        "{{ messages[0].update({}) }}",
        "{% for a in range(999999999) %}{% endfor %}",
        "{{ cycler.__init__.__globals__ }}",
    ],
)
def test_a_template_can_t_leave_its_sandbox(source):
    with pytest.raises(UnsupportedError, match="template of tiny can't render these messages"):
        render(source)


def test_what_a_template_raises_is_a_wrong_request():
    with pytest.raises(ValidationError, match="template of tiny refuses these messages: only cats"):
        render("{{ raise_exception('only cats') }}")


def test_what_breaks_within_a_template_says_whose_it_is():
    with pytest.raises(UnsupportedError, match=r"tiny can't render .*nothing"):
        render("{{ nothing.at.all }}")


def test_a_template_that_is_none_says_so_at_once():
    with pytest.raises(UnsupportedError, match="template of tiny can't be read"):
        ChatTemplate("{% if %}", name="tiny")


def test_a_long_conversation_costs_each_message_once():
    """Rendered twice as long it takes about twice as many steps of Python, not four times."""
    template = ChatTemplate(templates.CHATML)

    def steps(count: int) -> int:
        messages = [ChatMessage.user("a" * 50)] * count
        done = 0

        def count_step(*_):
            nonlocal done
            done += 1
            return count_step

        before = sys.gettrace()
        sys.settrace(count_step)
        try:
            template.render(messages)
        finally:
            sys.settrace(before)
        return done

    template.render([USER])
    assert steps(400) < 3 * steps(200)


def test_importing_loads_no_jinja():
    program = "import sys, blazen.chat; sys.exit('jinja2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_rendering_is_what_llama_cpp_python_renders():
    formatter = pytest.importorskip("llama_cpp.llama_chat_format").Jinja2ChatFormatter
    messages = [("user", "Hi <b>é</b>\n"), ("assistant", " yes "), ("user", "So?")]
    for name in ("CHATML", "HERMES", "LLAMA", "OLD_GEMMA", "MISTRAL", "GEMMA_4", "GRANITE"):
        source = getattr(templates, name)
        theirs = formatter(source, eos_token="</s>", bos_token="<s>")(
            messages=[{"role": role, "content": text} for role, text in messages]
        )
        ours = ChatTemplate(source, bos="<s>", eos="</s>").render(
            [ChatMessage(role, text) for role, text in messages]
        )
        assert ours == theirs.prompt


def test_what_is_not_given_is_none_as_with_hugging_face():
    source = "{{ tools is none }} {{ documents is none }} {{ others is defined }}"
    assert render(source) == "True True False"


def test_a_template_that_takes_all_memory_is_an_error():
    with pytest.raises(UnsupportedError):
        render("{{ 'a' * 10**13 }}")

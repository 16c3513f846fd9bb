"""Templates in the form of the model families, each as short as its form allows."""

# ruff: noqa: E501 - a line break would be a part of the template

HERMES = """\
{%- if messages[0].role == 'system' or tools -%}
<|im_start|>system
{% if messages[0].role == 'system' %}{{ messages[0].content }}{% endif %}
{%- if tools %}

Functions:
{%- for tool in tools %}
{{ tool | tojson }}
{%- endfor %}
{%- endif %}<|im_end|>
{% endif %}
{%- for m in messages if m.role != 'system' %}
{%- if m.role == 'tool' %}<|im_start|>user
<tool_response>
{{ m.content }}
</tool_response><|im_end|>
{% else %}<|im_start|>{{ m.role }}
{{ m.content }}
{%- for call in m.tool_calls or [] %}
{{- '\\n' if m.content or not loop.first }}<tool_call>
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}
</tool_call>
{%- endfor %}<|im_end|>
{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% if enable_thinking is defined and not enable_thinking %}<think>

</think>

{% endif %}
{%- endif %}"""
"""Qwen3: reasons unless told otherwise."""

PLAIN_HERMES = HERMES.replace(
    "{% if enable_thinking is defined and not enable_thinking %}", "{% if false %}"
).replace("<think>\n\n</think>\n\n", "")
"""Qwen2.5, Hermes: does not reason."""

QWEN_CODER = """\
{%- if tools %}<|im_start|>system
{% for tool in tools %}{{ tool.function | tojson }}
{% endfor %}<|im_end|>
{% endif %}
{%- for m in messages %}<|im_start|>{{ 'user' if m.role == 'tool' else m.role }}
{{ m.content }}
{%- for call in m.tool_calls or [] %}
<tool_call>
<function={{ call.function.name }}>
{% for key, value in call.function.arguments | items %}<parameter={{ key }}>
{{ value if value is string else value | tojson }}
</parameter>
{% endfor %}</function>
</tool_call>
{%- endfor %}<|im_end|>
{% endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""

LLAMA = """\
{{- bos_token }}
{%- for m in messages %}
{%- if m.role == 'tool' %}<|start_header_id|>ipython<|end_header_id|>

{{ {'output': m.content} | tojson }}<|eot_id|>
{%- else %}<|start_header_id|>{{ m.role }}<|end_header_id|>

{% if m.tool_calls %}
{%- if m.tool_calls | length != 1 %}{{ raise_exception('one call at a time') }}{% endif %}
{%- set f = m.tool_calls[0].function %}
{{- '{"name": "' + f.name + '", "parameters": ' + f.arguments | tojson + '}' }}
{%- else %}
{%- if tools and m == (messages | selectattr('role', 'equalto', 'user') | first) %}Functions: {{ tools | tojson }}

{% endif %}
{{- m.content }}
{%- endif %}<|eot_id|>
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>

{% endif %}
{#- <|python_tag|> begins code #}"""

MISTRAL = """\
{{- bos_token }}
{%- set users = messages | selectattr('role', 'equalto', 'user') | list %}
{%- for m in messages if m.role == 'user' or (m.role == 'assistant' and not m.tool_calls) %}
{%- if (m.role == 'user') != (loop.index0 % 2 == 0) %}
{{- raise_exception('roles must alternate user/assistant') }}
{%- endif %}
{%- endfor %}
{%- for m in messages %}
{%- if m.role == 'user' %}
{%- if tools and m == users[-1] %}[AVAILABLE_TOOLS]{{ tools | tojson }}[/AVAILABLE_TOOLS]{% endif %}
{{- '[INST]' + m.content + '[/INST]' }}
{%- elif m.tool_calls %}[TOOL_CALLS] [
{%- for call in m.tool_calls %}
{%- if call.id | length != 9 %}{{ raise_exception('ids have length 9') }}{% endif %}
{{- (call.function | tojson)[:-1] }}, "id": "{{ call.id }}"}{{ ', ' if not loop.last }}
{%- endfor %}]{{ eos_token }}
{%- elif m.role == 'assistant' %}{{ m.content + eos_token }}
{%- elif m.role == 'tool' %}[TOOL_RESULTS]{"content": {{ m.content }}, "call_id": "{{ m.tool_call_id }}"}[/TOOL_RESULTS]
{%- else %}{{ raise_exception('only user, assistant and tool messages') }}
{%- endif %}
{%- endfor %}"""
"""Mistral 7B v0.3: no system role, alternating roles, ids of nine characters."""

NEW_MISTRAL = """\
{{- bos_token }}
{%- set users = messages | selectattr('role', 'equalto', 'user') | list %}
{%- for m in messages %}
{%- if m.role == 'system' %}[SYSTEM_PROMPT]{{ m.content }}[/SYSTEM_PROMPT]
{%- elif m.role == 'user' %}
{%- if tools and m == users[-1] %}[AVAILABLE_TOOLS]{{ tools | tojson }}[/AVAILABLE_TOOLS]{% endif %}
{{- '[INST]' + m.content + '[/INST]' }}
{%- elif m.role == 'assistant' %}{{ m.content }}
{%- for call in m.tool_calls or [] %}[TOOL_CALLS]{{ call.function.name }}[ARGS]
{{- call.function.arguments if call.function.arguments is string else call.function.arguments | tojson }}
{%- endfor %}{{ eos_token }}
{%- else %}[TOOL_RESULTS]{{ m.content }}[/TOOL_RESULTS]
{%- endif %}
{%- endfor %}
{#- [THINK] and [/THINK] are written by the model #}"""
"""Magistral: reasons between marks of its own."""

PHI = """\
{%- for m in messages %}
{%- if m.role == 'system' and m.tools %}<|system|>{{ m.content }}<|tool|>{{ m.tools }}<|/tool|><|end|>
{%- else %}<|{{ m.role }}|>{{ m.content }}<|end|>
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}<|assistant|>{% endif %}"""
"""Phi-4-mini: tools as a text in the system message; calls of earlier turns are left out."""

FUNCTION_GEMMA = """\
{{- bos_token }}
{%- if tools %}<start_of_turn>developer
{% for tool in tools %}<start_function_declaration>declaration:{{ tool.function.name }}<end_function_declaration>
{%- endfor %}<end_of_turn>
{% endif %}
{%- for m in messages %}
{%- if m.role == 'tool' %}<start_function_response>response:{{ m.name }}{value:<escape>{{ m.content }}<escape>}<end_function_response>
{%- else %}<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}
{{ m.content }}
{%- for call in m.tool_calls or [] %}<start_function_call>call:{{ call.function.name }}{
{%- for key, value in call.function.arguments | items %}{{ key }}:
{{- '<escape>' + value + '<escape>' if value is string else value | tojson }}{{ ',' if not loop.last }}
{%- endfor %}}<end_function_call>
{%- endfor %}<end_of_turn>
{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}<start_of_turn>model
{% endif %}"""

GEMMA_4 = """\
{{- bos_token }}
{%- if tools or enable_thinking %}<|turn>system
{{ '<|think|>' if enable_thinking }}
{%- for tool in tools or [] %}<|tool>declaration:{{ tool.function.name }}<tool|>{% endfor %}<turn|>
{% endif %}
{%- for m in messages %}<|turn>{{ 'model' if m.role == 'assistant' else m.role }}
{% for call in m.tool_calls or [] %}<|tool_call>call:{{ call.function.name }}{
{%- for key, value in call.function.arguments | items %}{{ key }}:
{{- '<|"|>' + value + '<|"|>' if value is string else value | tojson }}{{ ',' if not loop.last }}
{%- endfor %}}<tool_call|>
{%- endfor %}
{{- m.content }}<turn|>
{% endfor %}
{%- if add_generation_prompt %}<|turn>model
{% if not enable_thinking %}<|channel>thought
<channel|>{% endif %}
{%- endif %}"""

OLD_GEMMA = """\
{{- bos_token }}
{%- if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}
{%- for m in messages %}
{%- if (m.role == 'user') != (loop.index0 % 2 == 0) %}
{{- raise_exception('Conversation roles must alternate') }}
{%- endif %}<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}
{{ m.content | trim }}<end_of_turn>
{% endfor %}
{%- if add_generation_prompt %}<start_of_turn>model
{% endif %}"""
"""Gemma 2: no system role, no tools, alternating roles."""

DEEPSEEK = """\
{{- bos_token }}
{%- if tools %}Functions: {{ tools | tojson }}{% endif %}
{%- for m in messages %}
{%- if m.role == 'system' %}{{ m.content }}
{%- elif m.role == 'user' %}<｜User｜>{{ m.content }}
{%- elif m.role == 'tool' %}<｜tool▁outputs▁begin｜><｜tool▁output▁begin｜>{{ m.content }}<｜tool▁output▁end｜><｜tool▁outputs▁end｜>
{%- else %}
{%- if m.tool_calls %}<｜Assistant｜><｜tool▁calls▁begin｜>
{%- for call in m.tool_calls %}
{{- '\\n' if not loop.first }}<｜tool▁call▁begin｜>{{ call.type }}<｜tool▁sep｜>{{ call.function.name }}
```json
{{ '' + call.function.arguments }}
```<｜tool▁call▁end｜>
{%- endfor %}<｜tool▁calls▁end｜><｜end▁of▁sentence｜>
{%- endif %}
{%- if m.content is not none %}<｜Assistant｜>{{ m.content.split('</think>')[-1] }}<｜end▁of▁sentence｜>{% endif %}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}<｜Assistant｜><think>
{% endif %}"""
"""DeepSeek-R1: the prompt opens the reasoning; arguments must be texts; no content is none."""

DEEPSEEK_31 = """\
{{- bos_token }}
{%- if tools %}Functions: {{ tools | tojson }}{% endif %}
{%- for m in messages %}
{%- if m.role == 'system' %}{{ m.content }}
{%- elif m.role == 'user' %}<｜User｜>{{ m.content }}
{%- elif m.role == 'tool' %}<｜tool▁output▁begin｜>{{ m.content }}<｜tool▁output▁end｜>
{%- else %}<｜Assistant｜></think>{{ m.content }}
{%- if m.tool_calls %}<｜tool▁calls▁begin｜>
{%- for call in m.tool_calls %}<｜tool▁call▁begin｜>{{ call.function.name }}<｜tool▁sep｜>
{{- '' + call.function.arguments }}<｜tool▁call▁end｜>
{%- endfor %}<｜tool▁calls▁end｜>
{%- endif %}<｜end▁of▁sentence｜>
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}<｜Assistant｜>{{ '<think>' if thinking else '</think>' }}{% endif %}"""

GLM = """\
{%- if tools %}<|system|>{% for tool in tools %}{{ tool | tojson }}{% endfor %}{% endif %}
{%- for m in messages %}<|{{ 'observation' if m.role == 'tool' else m.role }}|>
{{ m.content.split('</think>')[-1] }}
{%- for call in m.tool_calls or [] %}
<tool_call>{{ call.function.name }}
{% for key, value in call.function.arguments | items %}<arg_key>{{ key }}</arg_key>
<arg_value>{{ value if value is string else value | tojson }}</arg_value>
{% endfor %}</tool_call>
{%- endfor %}
{%- endfor %}
{%- if add_generation_prompt %}<|assistant|>
{{- '<think></think>' if enable_thinking is defined and not enable_thinking }}{% endif %}"""

GRANITE = """\
{%- if tools %}<|start_of_role|>available_tools<|end_of_role|>{{ tools | tojson }}<|end_of_text|>
{% endif %}
{%- if thinking %}<|start_of_role|>system<|end_of_role|>Think between <think> and </think>, answer between <response> and </response>.<|end_of_text|>
{% endif %}
{%- for m in messages %}<|start_of_role|>{{ m.role }}<|end_of_role|>
{%- if m.tool_calls %}<|tool_call|>[
{%- for call in m.tool_calls %}{{ call.function | tojson }}{{ ', ' if not loop.last }}{% endfor %}]
{%- else %}{{ m.content }}
{%- endif %}<|end_of_text|>
{% endfor %}
{%- if add_generation_prompt %}<|start_of_role|>assistant<|end_of_role|>{% endif %}"""

COMMAND = """\
{{- bos_token }}
{%- if tools %}{{ tools | tojson }}{% endif %}
{%- for m in messages %}<|START_OF_TURN_TOKEN|>
{%- if m.role == 'assistant' %}<|CHATBOT_TOKEN|>
{%- if m.tool_calls %}<|START_THINKING|><|END_THINKING|><|START_ACTION|>[
{%- for call in m.tool_calls %}
    {"tool_call_id": "{{ loop.index0 }}", "tool_name": "{{ call.function.name }}", "parameters": {{ call.function.arguments | tojson }}}{{ ',' if not loop.last }}
{%- endfor %}
]<|END_ACTION|>
{%- else %}<|START_RESPONSE|>{{ m.content }}<|END_RESPONSE|>{% endif %}
{%- else %}<|{{ m.role | upper }}_TOKEN|>{{ m.content }}{% endif %}<|END_OF_TURN_TOKEN|>
{%- endfor %}
{%- if add_generation_prompt %}<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>{% endif %}"""

HARMONY = """\
<|start|>system<|message|>Reasoning: {{ reasoning_effort or 'medium' }}<|end|>
{%- if tools %}<|start|>developer<|message|>{{ tools | tojson }}<|end|>{% endif %}
{%- for m in messages %}
{%- if m.tool_calls %}<|start|>assistant<|channel|>commentary to=functions.{{ m.tool_calls[0].function.name }} <|constrain|>json<|message|>{{ m.tool_calls[0].function.arguments | tojson }}<|call|>
{%- elif m.role == 'tool' %}<|start|>functions.{{ m.name }} to=assistant<|channel|>commentary<|message|>{{ m.content | tojson }}<|end|>
{%- elif m.role == 'assistant' %}<|start|>assistant<|channel|>final<|message|>{{ m.content }}<|end|>
{%- else %}<|start|>{{ m.role }}<|message|>{{ m.content }}<|end|>{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}<|start|>assistant{% endif %}"""
"""gpt-oss."""

UNKNOWN = """\
{%- if tools %}((abilities {{ tools | tojson }}))
{% endif %}
{%- for m in messages %}(({{ m.role }} {{ m.content }}
{%- for call in m.tool_calls or [] %}@@do {"function_name": "{{ call.function.name }}", "args": {{ call.function.arguments | tojson }}} @@done{% endfor %}))
{% endfor %}
{%- if add_generation_prompt %}((assistant {% endif %}"""
"""No family at all."""

ALIKE = """\
{%- if tools %}<ABILITIES>{{ tools | tojson }}</ABILITIES>{% endif %}
{%- for m in messages %}<TURN {{ m.role }}>
{%- if m.tool_calls %}<TEXTCALL>[
{%- for call in m.tool_calls %}{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}{{ ', ' if not loop.last }}{% endfor -%}
]</TEXTCALL><END>
{%- elif m.role == 'assistant' %}<TEXT>{{ m.content }}</TEXT><END>
{%- else %}{{ m.content }}<END>{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}<TURN assistant>{% endif %}"""
"""No family either, and its marks begin and end alike."""

NAMED = """\
{%- for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>

{% if tools and loop.first %}{{ tools | tojson }}{% endif %}{{ m.content }}
{%- for call in m.tool_calls or [] %}<function={{ call.function.name }}>{{ call.function.arguments | tojson }}</function>{% endfor %}<|eot_id|>
{%- endfor %}
{%- if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>

{% endif %}"""
"""Functionary 3.1; also how Llama 3.1 is told to call functions of one's own."""

PARTS_ONLY = """\
{%- for m in messages %}[{{ m.role }}]
{%- for part in m.content %}{{ part.text }}{% endfor %}
{%- endfor %}
{%- if add_generation_prompt %}[assistant]{% endif %}"""
"""Content must be a list of parts."""

CHATML = """\
{%- for m in messages %}<|im_start|>{{ m.role }}
{{ m.content }}<|im_end|>
{% endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
"""No tools, no reasoning."""

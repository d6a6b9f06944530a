# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""Write the Python declarations: ctypes structures and prototypes, and the records that the module returns."""
from headers import camel, member

HEADER = '''# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
# Written by bindings/generate from lib/peerbar/*.h. Do not edit.
'''
BASES = {
    'char': 'ctypes.c_char', 'bool': 'ctypes.c_bool', 'int': 'ctypes.c_int', 'unsigned int': 'ctypes.c_uint', 'size_t': 'ctypes.c_size_t',
    'uint8_t': 'ctypes.c_uint8', 'uint16_t': 'ctypes.c_uint16', 'uint32_t': 'ctypes.c_uint32', 'uint64_t': 'ctypes.c_uint64',
}


def ctype(kind, api):
    base, pointers = kind.base, kind.pointers
    if kind.rows:
        return f'ctypes.POINTER({BASES[base]} * {kind.array})'
    if base == 'char' and pointers == 1:
        return 'ctypes.c_char_p'
    if base == 'void' and pointers:
        text, pointers = 'ctypes.c_void_p', pointers - 1
    elif base.startswith('struct '):
        name = base.split()[1]
        if name in api.structs:
            text = name
        else:
            text, pointers = 'ctypes.c_void_p', pointers - 1
    elif base.startswith('enum '):
        text = 'ctypes.c_uint'
    elif base == 'void':
        return 'None'
    else:
        text = BASES[base]
    for _ in range(pointers):
        text = f'ctypes.POINTER({text})'
    if kind.array:
        text = f'{text} * {kind.array}'
    return text


def annotation(kind):
    if kind.base == 'char' and kind.array and not kind.rows or kind.base == 'char' and kind.pointers == 1 and not kind.rows:
        return 'Any'
    if kind.pointers or kind.array:
        return 'Any'
    if kind.base.startswith('struct '):
        return kind.base.split()[1]
    return 'bool' if kind.base == 'bool' else 'int'


def declarations(api):
    out = [HEADER + '"""The structures, prototypes and constants of libpeerbar, for ctypes."""', 'from __future__ import annotations', '',
           'import ctypes', 'from typing import Any', '']
    for name, value in sorted(api.constants.items()):
        out.append(f'{name} = {value:#x}')
    for struct in api.structs.values():
        out += ['', '', f'class {struct.name}(ctypes.Structure):']
        out += [f'    {field.name}: {annotation(field.type)}' for field in struct.fields]
        out.append('    _fields_ = [')
        out += [f"        ('{field.name}', {ctype(field.type, api)})," for field in struct.fields]
        out.append('    ]')
    out += ['', '', 'STRUCTURES: list[type[ctypes.Structure]] = [']
    out += [f'    {name},' for name in api.structs]
    out += [']', '', '# The result and the parameters of each function.', 'FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {']
    for function in api.functions.values():
        result = ctype(function.result, api)
        parameters = ', '.join(ctype(p.type, api) for p in function.parameters)
        out.append(f"    '{function.name}': ({result}, [{parameters}]),")
    out.append('}')
    return '\n'.join(out) + '\n'


def docstring(text, indent):
    """Return a docstring of one sentence; C's references become plain names."""
    text = text.replace('&struct ', '').replace('&enum ', '').strip()
    text = text[:1].upper() + text[1:] if text else text
    text = text if text.endswith('.') else text + '.'
    return f'{indent}"""{text}"""'


def record_type(field, struct):
    kind = field.type
    if is_text(kind):
        return 'str'
    if kind.rows:
        return 'tuple[str, ...]'
    if kind.base.startswith('struct ') and (kind.array or counted(field, struct)):
        return f'tuple[{camel(kind.base.split()[1])}, ...]'
    if kind.array:
        return 'tuple[int, ...]'
    if kind.pointers:
        return 'int | None'
    if kind.base == 'struct pb_error':
        return 'Reason'
    if kind.base.startswith(('struct ', 'enum ')):
        return camel(kind.base.split()[1])
    return 'bool' if kind.base == 'bool' else 'int'


def is_text(kind):
    return kind.base == 'char' and not kind.rows and (kind.array > 0 or kind.pointers == 1)


def counted(field, struct):
    """Whether it points to an array whose length is another field."""
    singular = field.name
    return field.type.pointers == 1 and any(f.name == f'nr_{singular}' for f in struct.fields)


def conversion(field, struct):
    kind, value = field.type, f'raw.{field.name}'
    if is_text(kind):
        return f'text({value})'
    if kind.rows:
        return f'tuple(text({value}[i].value) for i in range(raw.nr_{field.name}))'
    if kind.base.startswith('struct ') and kind.array:
        return f'tuple({camel(kind.base.split()[1])}._of(element) for element in {value})'
    if counted(field, struct):
        return f'tuple({camel(kind.base.split()[1])}._of({value}[i]) for i in range(raw.nr_{field.name}))'
    if kind.array:
        return f'tuple({value})'
    if kind.pointers:
        return value
    if kind.base == 'struct pb_error':
        return f'Reason({value}.code, text({value}.text))'
    if kind.base.startswith('struct '):
        return f'{camel(kind.base.split()[1])}._of({value})'
    if kind.base.startswith('enum '):
        return f'{camel(kind.base.split()[1])}({value})'
    return value


def records(api):
    out = [HEADER + '"""Enumerations, and the records that the functions of the module return."""', 'from __future__ import annotations', '',
           'import dataclasses', 'import enum', 'from typing import Any', '', 'from ._open_enum import OpenEnum', '', '',
           'def text(raw: bytes | None) -> str:', '    """Decode a string of the library; any byte is kept."""',
           "    return (raw or b'').decode('utf-8', 'surrogateescape')", '', '',
           '@dataclasses.dataclass(frozen=True)', 'class Reason:', '    """Why something is not as it should be; code 0 if it is."""', '',
           '    code: int', '    """The errno, or 0."""', '    text: str', '    """One sentence, or nothing."""']
    for item in api.enums.values():
        base = 'enum.IntFlag' if item.flags else 'OpenEnum'
        out += ['', '', f'class {camel(item.name)}({base}):']
        if item.doc:
            out += [docstring(item.doc, '    '), '']
        for name, value, doc in item.values:
            out.append(f'    {member(item, name)} = {value}')
            if doc:
                out.append(docstring(doc, '    '))
    for struct in api.records().values():
        out += ['', '', '@dataclasses.dataclass(frozen=True)', f'class {camel(struct.name)}:']
        if struct.doc:
            out += [docstring(struct.doc, '    '), '']
        for field in struct.fields:
            out.append(f'    {field.name}: {record_type(field, struct)}')
            if field.doc:
                out.append(docstring(field.doc, '    '))
        out += ['', '    @classmethod', f'    def _of(cls, raw: Any) -> {camel(struct.name)}:', '        return cls(']
        out += [f'            {conversion(field, struct)},' for field in struct.fields]
        out.append('        )')
    return '\n'.join(out) + '\n'

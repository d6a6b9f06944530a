# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""Parse the headers of libpeerbar: enumerations, structures, functions and constants, with the kernel-doc of each."""
import dataclasses
import glob
import os
import re


@dataclasses.dataclass
class Type:
    """A C type: @base is 'void', 'uint64_t', 'struct pb_error', 'enum pb_model'; @pointers counts the asterisks."""
    base: str
    pointers: int = 0
    const: bool = False
    array: int = 0      # elements of an array, or of what a pointer to an array points to
    rows: bool = False  # it is a pointer to an array


@dataclasses.dataclass
class Field:
    name: str
    type: Type
    doc: str = ''


@dataclasses.dataclass
class Struct:
    name: str
    fields: list
    doc: str = ''


@dataclasses.dataclass
class Enum:
    name: str
    values: list        # (name, number, doc)
    doc: str = ''

    @property
    def flags(self):
        return self.name.endswith('_flags')


@dataclasses.dataclass
class Function:
    name: str
    result: Type
    parameters: list
    doc: str = ''


@dataclasses.dataclass
class Api:
    enums: dict = dataclasses.field(default_factory=dict)
    structs: dict = dataclasses.field(default_factory=dict)
    opaque: list = dataclasses.field(default_factory=list)
    functions: dict = dataclasses.field(default_factory=dict)
    constants: dict = dataclasses.field(default_factory=dict)

    def records(self):
        """Return the structures that hold results, and so have a counterpart in each language."""
        return {name: s for name, s in self.structs.items() if name not in ('pb_error', 'pb_guest_trap', 'pb_guest_window')}


def parse_type(text, constants):
    """Return the type and the name of a declaration such as 'const struct pb_range *ranges'."""
    text = re.sub(r'\s+', ' ', text.strip())
    match = re.fullmatch(r'(.*?)\(\*(\w+)\)\[(\w+)\]', text)
    if match:
        kind, _ = parse_type(match[1] + ' x', constants)
        return Type(kind.base, 1, kind.const, number(match[3], constants), True), match[2]
    match = re.fullmatch(r'(const )?((?:struct |enum |unsigned )?\w+) ?(\**) ?(\w*)(?:\[(\w+)\])?', text)
    if not match:
        raise SystemExit(f'cannot parse the declaration: {text}')
    return Type(match[2], len(match[3]), bool(match[1]), number(match[5], constants) if match[5] else 0), match[4]


def number(text, constants):
    return constants[text] if text in constants else int(text.rstrip('UL'), 0)


def kernel_docs(text):
    """Return {name: (summary, {field: text})} of the comments that begin with /**."""
    docs = {}
    for comment in re.findall(r'/\*\*(.*?)\*/', text, re.S):
        lines = [re.sub(r'^\s*\* ?', '', line).rstrip() for line in comment.strip().splitlines()]
        body = '\n'.join(lines)
        match = re.match(r'(?:enum |struct )?(\w+)(?:\(\))? - (.*?)(?=\n@|\n\n|$)', body, re.S)
        if not match:
            continue
        fields = {m[1]: ' '.join(m[2].split()) for m in re.finditer(r'^@(\w+): (.*?)(?=\n@|\n\n|\Z)', body, re.S | re.M)}
        docs[match[1]] = (' '.join(match[2].split()), fields)
    return docs


def parse_enum(name, body, docs):
    values, following = [], 0
    for item in body.split(','):
        if not item.strip():
            continue
        key, _, value = (part.strip() for part in item.partition('='))
        if value:
            shift = re.fullmatch(r'(\d+) << (\d+)', value)
            following = int(shift[1]) << int(shift[2]) if shift else int(value, 0)
        values.append((key, following, docs[1].get(key, '')))
        following += 1
    return Enum(name, values, docs[0])


def parse_struct(name, body, docs, constants):
    fields = []
    for item in body.split(';'):
        if item.strip():
            kind, field = parse_type(item, constants)
            fields.append(Field(field, kind, docs[1].get(field, '')))
    return Struct(name, fields, docs[0])


def parse_function(result, name, parameters, docs, constants):
    fields = []
    if parameters.strip() != 'void':
        for item in parameters.split(','):
            kind, parameter = parse_type(item, constants)
            fields.append(Field(parameter, kind))
    return Function(name, parse_type(result + ' x', constants)[0], fields, docs[0])


def read(folder):
    api = Api()
    names = sorted(glob.glob(os.path.join(folder, '*.h')))
    text = {name: open(name).read() for name in names}
    for source in text.values():
        for name, value in re.findall(r'^#define\s+(PB_\w+)\s+(0[xX][0-9a-fA-F]+(?:ULL)?|\d+)\b', source, re.M):
            api.constants[name] = int(value.rstrip('UL'), 0)
    for source in text.values():
        docs = kernel_docs(source)
        nothing = ('', {})
        code = re.sub(r'/\*.*?\*/', '', source, flags=re.S)
        code = re.sub(r'^#.*?$', '', code, flags=re.M)
        for name, body in re.findall(r'enum\s+(\w+)\s*\{([^}]*)\}', code):
            api.enums[name] = parse_enum(name, body, docs.get(name, nothing))
        for name, body in re.findall(r'struct\s+(\w+)\s*\{([^}]*)\}\s*;', code):
            api.structs[name] = parse_struct(name, body, docs.get(name, nothing), api.constants)
        api.opaque += re.findall(r'^struct\s+(\w+);', code, re.M)
        for result, name, parameters in re.findall(r'PB_API\s+([\w\s]*?[\w*]\s*\**)\b(pb_\w+)\(([^)]*(?:\([^)]*\)[^)]*)*)\);', code):
            api.functions[name] = parse_function(result, name, parameters, docs.get(name, nothing), api.constants)
    # A structure must be declared after those that it contains.
    ordered = {}

    def place(struct):
        for field in struct.fields:
            inner = field.type.base.removeprefix('struct ')
            if inner in api.structs and inner not in ordered:
                place(api.structs[inner])
        ordered[struct.name] = struct

    for struct in api.structs.values():
        if struct.name not in ordered:
            place(struct)
    api.structs = ordered
    return api


def camel(name):
    """Return 'BufferInfo' for 'pb_buffer_info'."""
    return ''.join(part.capitalize() for part in name.removeprefix('pb_').split('_'))


def member(enum, name):
    """Return the name without what all of the enumeration's names begin with."""
    words = enum.name.upper().split('_')
    for count in range(len(words), 0, -1):
        begin = '_'.join(words[:count]) + '_'
        if all(n.startswith(begin) for n, _, _ in enum.values):
            return name[len(begin):]
    return name


def layout_program(api):
    lines = ['#include <stdio.h>', '#include <peerbar.h>', 'int main(void)', '{']
    for struct in api.structs.values():
        lines.append(f'\tprintf("{struct.name} %zu\\n", sizeof(struct {struct.name}));')
        for field in struct.fields:
            lines.append(f'\tprintf("{struct.name}.{field.name} %zu\\n", offsetof(struct {struct.name}, {field.name}));')
    return '\n'.join(lines + ['\treturn 0;', '}'])

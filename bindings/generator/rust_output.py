# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""Write the Rust declarations: peerbar-sys, and the records that the crate peerbar returns."""
from headers import camel, member

HEADER = '''// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
// Written by bindings/generate from lib/peerbar/*.h. Do not edit.
'''
BASES = {
    'char': 'c_char', 'bool': 'bool', 'int': 'c_int', 'unsigned int': 'c_uint', 'size_t': 'usize', 'void': 'c_void',
    'uint8_t': 'u8', 'uint16_t': 'u16', 'uint32_t': 'u32', 'uint64_t': 'u64',
}
KEYWORDS = {'type'}


def ident(name):
    return f'r#{name}' if name in KEYWORDS else name


def base_type(kind):
    if kind.base.startswith(('struct ', 'enum ')):
        return kind.base.split()[1]
    return BASES[kind.base]


def rust_type(kind):
    text = base_type(kind)
    if kind.array:
        text = f'[{text}; {kind.array}]'
    # In C, const belongs to what is pointed to last.
    for level in range(kind.pointers):
        text = f'*{"const" if kind.const and level == 0 else "mut"} {text}'
    return text


def comment(text, indent, mark='///'):
    text = text.replace('&struct ', '').replace('&enum ', '').strip()
    if not text:
        return []
    # References to parameters and to other items stay C's, and '[' or '<' are no links.
    text = text[:1].upper() + text[1:]
    text = text.replace('[', '\\[').replace(']', '\\]').replace('<', '\\<').replace('>', '\\>')
    return [f'{indent}{mark} {text if text.endswith(".") else text + "."}']


def declarations(api):
    out = [HEADER, 'use core::ffi::{c_char, c_int, c_uint, c_void};', '']
    for name, value in sorted(api.constants.items()):
        kind = 'u64' if value > 0xffffffff else 'u32'
        out.append(f'pub const {name}: {kind} = {value if value < 1 << 32 else hex(value)};')
    for item in api.enums.values():
        out += ['', *comment(item.doc, ''), f'pub type {item.name} = c_uint;']
        for name, value, doc in item.values:
            out += comment(doc, '') + [f'pub const {name}: {item.name} = {value};']
    for name in api.opaque:
        out += ['', '#[repr(C)]', f'pub struct {name} {{', '    _opaque: [u8; 0],',
                '    _not_send: core::marker::PhantomData<(*mut u8, core::marker::PhantomPinned)>,', '}']
    for struct in api.structs.values():
        out += ['', *comment(struct.doc, ''), '#[repr(C)]', '#[derive(Clone, Copy)]', f'pub struct {struct.name} {{']
        for field in struct.fields:
            out += comment(field.doc, '    ') + [f'    pub {ident(field.name)}: {rust_type(field.type)},']
        out.append('}')
    out += ['', 'extern "C" {']
    for function in api.functions.values():
        arguments = ', '.join(f'{ident(p.name)}: {rust_type(p.type)}' for p in function.parameters)
        result = '' if function.result.base == 'void' and not function.result.pointers else f' -> {rust_type(function.result)}'
        line = f'    pub fn {function.name}({arguments}){result};'
        if len(line) > 100:
            line = f'    pub fn {function.name}(\n' + ''.join(
                f'        {ident(p.name)}: {rust_type(p.type)},\n' for p in function.parameters) + f'    ){result};'
        out.append(line)
    out += ['}', '', '/// The size of each structure, and the offset of each of its fields, for a comparison with C.',
            'pub const LAYOUT: &[(&str, usize)] = &[']
    for struct in api.structs.values():
        out.append(f'    ("{struct.name}", core::mem::size_of::<{struct.name}>()),')
        for field in struct.fields:
            line = f'    ("{struct.name}.{field.name}", core::mem::offset_of!({struct.name}, {ident(field.name)})),'
            if len(line) > 100:
                line = (f'    (\n        "{struct.name}.{field.name}",\n        core::mem::offset_of!({struct.name}, {ident(field.name)}),\n    ),')
            out.append(line)
    out.append('];')
    return '\n'.join(out) + '\n'


def counted(field, struct):
    return field.type.pointers == 1 and any(f.name == f'nr_{field.name}' for f in struct.fields)


def is_text(kind):
    return kind.base == 'char' and not kind.rows and (kind.array > 0 or kind.pointers == 1)


def record_type(field, struct):
    kind = field.type
    if is_text(kind):
        return 'String'
    if kind.rows:
        return 'Vec<String>'
    if kind.base == 'struct pb_error':
        return 'Option<Error>'
    inner = camel(kind.base.split()[1]) if kind.base.startswith(('struct ', 'enum ')) else BASES[kind.base].replace('c_uint', 'u32').replace('c_int', 'i32')
    if counted(field, struct):
        return f'Vec<{inner}>'
    if kind.pointers:
        return 'usize'
    return f'[{inner}; {kind.array}]' if kind.array else inner


def conversion(field, struct):
    kind, value = field.type, f'raw.{ident(field.name)}'
    if is_text(kind):
        return f'pointed_text({value})' if kind.pointers else f'text(&{value})'
    if kind.rows:
        return f'elements({value}, raw.nr_{field.name}).iter().map(|row| text(row)).collect()'
    if kind.base == 'struct pb_error':
        return f'Error::of(&{value})'
    if counted(field, struct):
        return f'elements({value}, raw.nr_{field.name}).iter().map({camel(kind.base.split()[1])}::of).collect()'
    if kind.pointers:
        return f'{value} as usize'
    if kind.base.startswith('struct ') and kind.array:
        return f'{value}.map(|element| {camel(kind.base.split()[1])}::of(&element))'
    if kind.base.startswith('struct '):
        return f'{camel(kind.base.split()[1])}::of(&{value})'
    if kind.base.startswith('enum '):
        return f'{camel(kind.base.split()[1])}({value})'
    return value


def records(api):
    out = [HEADER, '//! Enumerations, and the records that the functions return.', '#![allow(clippy::upper_case_acronyms)]', '',
           'use crate::convert::{elements, pointed_text, text};', 'use crate::Error;', 'use peerbar_sys as sys;', 'use std::fmt;']
    for item in api.enums.values():
        name = camel(item.name)
        out += ['', *comment(item.doc, ''), '///', '/// A newer library may have values that have no name here.',
                '#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]', f'pub struct {name}(pub u32);', '', f'impl {name} {{']
        for value, number, doc in item.values:
            line = f'    pub const {member(item, value)}: {name} = {name}(sys::{value});'
            if len(line) > 100:
                line = f'    pub const {member(item, value)}: {name} =\n        {name}(sys::{value});'
            out += comment(doc, '    ') + [line]
        out += ['}', '', f'impl fmt::Debug for {name} {{', '    fn fmt(&self, f: &mut fmt::Formatter<\'_>) -> fmt::Result {', '        match *self {']
        for value, _, _ in item.values:
            out.append(f'            {name}::{member(item, value)} => f.write_str("{member(item, value)}"),')
        out += [f'            {name}(other) => write!(f, "{name}({{other:#x}})"),', '        }', '    }', '}']
    for struct in api.records().values():
        name = camel(struct.name)
        out += ['', *comment(struct.doc, ''), '#[derive(Clone, Debug)]', '#[non_exhaustive]', f'pub struct {name} {{']
        for field in struct.fields:
            out += comment(field.doc, '    ') + [f'    pub {ident(field.name)}: {record_type(field, struct)},']
        out += ['}', '', f'impl {name} {{', f'    pub(crate) fn of(raw: &sys::{struct.name}) -> {name} {{', f'        {name} {{']
        for field in struct.fields:
            value = conversion(field, struct)
            out.append(f'            {ident(field.name)}: {value},')
        out += ['        }', '    }', '}']
    return '\n'.join(out) + '\n'

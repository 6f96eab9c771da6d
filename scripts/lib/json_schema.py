"""A validator of JSON Schema for scripts/check-schema, from the specification (2020-12, validation and
applicator vocabularies as far as tests/api/schemas.json goes), written apart from the compiler."""
import datetime
import ipaddress
import re
import uuid

TYPES = {"null": lambda v: v is None, "boolean": lambda v: isinstance(v, bool),
         "integer": lambda v: isinstance(v, int) and not isinstance(v, bool) or isinstance(v, float) and v == int(v),
         "number": lambda v: isinstance(v, (int, float)) and not isinstance(v, bool),
         "string": lambda v: isinstance(v, str), "array": lambda v: isinstance(v, list),
         "object": lambda v: isinstance(v, dict)}
FORMATS = {"date": datetime.date.fromisoformat,
           "time": lambda s: datetime.time.fromisoformat(s.replace("Z", "+00:00")),
           "date-time": lambda s: datetime.datetime.fromisoformat(s.replace("Z", "+00:00")),
           "uuid": uuid.UUID, "ipv4": ipaddress.IPv4Address,
           "email": lambda s: re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", s).group()}
NOTES = {"$defs", "default", "description", "title"}


def same(a, b):
    return type(a) == type(b) and a == b if isinstance(a, bool) or isinstance(b, bool) else a == b


def errors(schema, v, root=None, at="$"):
    """What is wrong with v, a line each."""
    root = schema if root is None else root
    if schema is True:
        return []
    if schema is False:
        return [f"{at}: nothing may stand here"]
    out = []

    def bad(what):
        out.append(f"{at}: {what}: {v!r}")

    for key, want in schema.items():
        if key in NOTES:
            continue
        if key == "$ref":
            to = root
            for part in want.split("/")[1:]:
                to = to[part]
            out += errors(to, v, root, at)
        elif key == "type":
            if not any(TYPES[t](v) for t in ([want] if isinstance(want, str) else want)):
                bad(f"not {want}")
        elif key == "enum":
            if not any(same(v, w) for w in want):
                bad("none of the values")
        elif key == "const":
            if not same(v, want):
                bad("not the value")
        elif key == "anyOf":
            if all(errors(s, v, root, at) for s in want):
                bad("fits none")
        elif key == "oneOf":
            if sum(not errors(s, v, root, at) for s in want) != 1:
                bad("does not fit exactly one")
        elif key == "allOf":
            for s in want:
                out += errors(s, v, root, at)
        elif key in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"):
            if TYPES["number"](v) and not {
                    "minimum": lambda: v >= want, "maximum": lambda: v <= want,
                    "exclusiveMinimum": lambda: v > want, "exclusiveMaximum": lambda: v < want,
                    "multipleOf": lambda: v / want == int(v / want)}[key]():
                bad(f"breaks {key} {want}")
        elif key in ("minLength", "maxLength"):
            if isinstance(v, str) and (len(v) < want if key == "minLength" else len(v) > want):
                bad(f"breaks {key} {want}")
        elif key == "pattern":
            if isinstance(v, str) and not re.search(want, v, re.ASCII):
                bad("does not match")
        elif key == "format":
            if isinstance(v, str):
                try:
                    FORMATS[want](v)
                except (ValueError, AttributeError):
                    bad(f"is no {want}")
        elif key in ("minItems", "maxItems"):
            if isinstance(v, list) and (len(v) < want if key == "minItems" else len(v) > want):
                bad(f"breaks {key} {want}")
        elif key == "prefixItems":
            for i, (s, x) in enumerate(zip(want, v if isinstance(v, list) else [])):
                out += errors(s, x, root, f"{at}[{i}]")
        elif key == "items":
            n = len(schema.get("prefixItems", []))
            for i, x in enumerate(v[n:] if isinstance(v, list) else []):
                out += errors(want, x, root, f"{at}[{n + i}]")
        elif key == "properties":
            for name, s in want.items():
                if isinstance(v, dict) and name in v:
                    out += errors(s, v[name], root, f"{at}.{name}")
        elif key == "required":
            for name in want:
                if isinstance(v, dict) and name not in v:
                    bad(f"lacks {name}")
        elif key == "additionalProperties":
            for name in (set(v) - set(schema.get("properties", {})) if isinstance(v, dict) else ()):
                out += errors(want, v[name], root, f"{at}.{name}")
        elif key in ("minProperties", "maxProperties"):
            if isinstance(v, dict) and (len(v) < want if key == "minProperties" else len(v) > want):
                bad(f"breaks {key} {want}")
        else:
            raise ValueError(f"the validator does not know '{key}'")
    return out

#!/usr/bin/env python3
"""200 mixed texts for comparing tokenizers: our own sentences, always the same.

`mixed_texts.py` prints them as JSON; TEXTS is the list. The golden ids in tests/fixtures/tok belong to
exactly these, so a change here means making them again (scripts/make-tok-goldens)."""
import json
import random

EN = [
    "Turn the heating to twenty-one degrees, please.",
    "What's the range left in the battery? I've got 212 km to go.",
    "It's raining; we'll be late, they'd said, and I'm sure you're right.",
    "IT'S LOUD IN HERE, I'LL SHOUT AND THEY'VE HEARD US.",
    "Navigate to 48.137154, 11.576124 and avoid toll roads.",
    "The quick courier parked between two grey vans at 07:45 on 2026-11-23.",
    "Why does the light on the dashboard blink twice and then stay on?",
    "Read me the last message.Then call back.No,wait.",
    "Tyre pressure: front 2.4 bar, rear 2.6 bar (cold).",
    "e-mail: someone@example.org, phone +49 30 1234567, web https://example.org/a?b=c&d=%20#top",
    "Supercalifragilistic antidisestablishmentarianism pneumonoultramicroscopic",
    "don't DON'T Don't don\u2019t DON\u2019T o'clock 'tis '90s rock'n'roll",
]
DE = [
    "Wie weit reicht der Akku noch, wenn wir \u00fcber die Autobahn nach K\u00f6ln fahren?",
    "\u00d6ffne bitte das Fenster hinten rechts einen Spalt breit.",
    "Stra\u00dfenbahnhaltestellenh\u00e4uschen, Gr\u00f6\u00dfenordnung, \u00c4nderungsw\u00fcnsche, Ma\u00dfst\u00e4be.",
    "\u201eIst das Licht an?\u201c, fragte sie \u2013 \u201aja\u2018, sagte er.",
    "Um 6:30 Uhr sind es \u22123,5 \u00b0C; das kostet 1.299,00 \u20ac.",
]
ZH = [
    "\u8bf7\u628a\u7a7a\u8c03\u8c03\u5230\u4e8c\u5341\u4e8c\u5ea6\u3002",
    "\u7535\u6c60\u8fd8\u80fd\u8dd1\u591a\u5c11\u516c\u91cc\uff1f\u6211\u4eec\u8981\u53bb\u4e0a\u6d77\u3002",
    "\u4eca\u5929\u662f2026\u5e7411\u670823\u65e5\uff0c\u661f\u671f\u4e00\u3002\u8f66\u91cc\u6709\uff13\u4e2a\u4eba\u3002",
    "\u300c\u6253\u5f00\u8f66\u7a97\u300d\u2014\u2014\u4ed6\u8bf4\u2026\u2026\u7136\u540e\u53c8\u5173\u4e0a\u4e86\uff01",
    "\u9f98\u9750\u9f49\u7c72\u9f5f\u300eABC\u300f\u4e2d\u82f1\u6df7\u5408text\u6d4b\u8bd5123\u5b8c",
]
OTHER = [
    "\u3053\u3093\u306b\u3061\u306f\u3001\u30a8\u30a2\u30b3\u30f3\u3092\u3064\u3051\u3066\u304f\u3060\u3055\u3044\u3002",
    "\ucc3d\ubb38\uc744 \uc870\uae08 \uc5f4\uc5b4 \uc8fc\uc138\uc694. \u1112\u1161\u11ab",
    "\u041f\u043e\u0436\u0430\u043b\u0443\u0439\u0441\u0442\u0430, \u0432\u043a\u043b\u044e\u0447\u0438 \u043e\u0442\u043e\u043f\u043b\u0435\u043d\u0438\u0435 \u043d\u0430 21,5\u00b0.",
    "\u0645\u0631\u062d\u0628\u0627 \u0628\u0643 \u0641\u064a \u0627\u0644\u0633\u064a\u0627\u0631\u0629\u060c \u0627\u0644\u0633\u0627\u0639\u0629 \u0663:\u0664\u0665",
    "\u05e9\u05dc\u05d5\u05dd \u05dc\u05db\u05d5\u05dc\u05dd \u05d1\u05e8\u05db\u05d1",
    "\u0928\u092e\u0938\u094d\u0924\u0947, \u0917\u093e\u0921\u093c\u0940 \u0915\u093e \u0924\u093e\u092a\u092e\u093e\u0928 \u0968\u0967 \u0921\u093f\u0917\u094d\u0930\u0940",
    "\u0e40\u0e1b\u0e34\u0e14\u0e2b\u0e19\u0e49\u0e32\u0e15\u0e48\u0e32\u0e07\u0e2b\u0e19\u0e48\u0e2d\u0e22",
    "\u0391\u03bd\u03bf\u03b9\u03be\u03b5 \u03c4\u03bf \u03c0\u03b1\u03c1\u03ac\u03b8\u03c5\u03c1\u03bf \u2167 \u00bd \u2460 \u00b2\u00b3 \u0663\u0664",
    "Za\u017c\u00f3\u0142\u0107 g\u0119\u015bl\u0105 ja\u017a\u0144; \u00eele-de-France, ni\u00f1o, \u0130stanbul, \u1ea4n \u0111\u1ed9",
    "e\u0301 o\u0308 n\u0303 a\u030a (combining) vs \u00e9 \u00f6 \u00f1 \u00e5 (composed) \ufb01 \ufb02",
]
CODE = [
    "int main(void)\n{\n\tfor (int i = 0; i < 10; i++)\n\t\tprintf(\"%d\\n\", i);\n\treturn 0;\n}\n",
    "def f(x, *args, **kw):\n    \"\"\"Doc.\"\"\"\n    return {k: v for k, v in kw.items() if v is not None}\n",
    "SELECT id, name FROM trips WHERE km >= 100 AND NOT deleted ORDER BY km DESC LIMIT 5;",
    "<div class=\"a b\"><p>x &lt; y &amp;&amp; z</p></div><!-- end -->",
    "{\"signal\": \"Vehicle.Cabin.HVAC.AmbientAirTemperature\", \"value\": 21.5, \"ok\": [true, null]}",
    "if [ \"$x\" -gt 3 ]; then echo ${y:-none} >> /tmp/a.log 2>&1 | grep -v '^#'; fi",
    "#define MAX(a,b) (((a)>(b))?(a):(b))  /* !!! ??? ... ### $$$ @@@ */",
    "let mut v: Vec<u8> = vec![0xDE, 0xAD]; v.iter().map(|b| !b).collect::<Vec<_>>()",
    "x=-1;y=+2;z=a*b/c%d^e|f&g~h<<2>>3!=4==5<=6>=7->8=>9::10",
]
EMOJI = [
    "\U0001f600\U0001f697\U0001f4a8 \U0001f50b 80% \u26a1\ufe0f ok \U0001f44d\U0001f3fd",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 \U0001f1e9\U0001f1ea\U0001f1e8\U0001f1f3 \u2764\ufe0f\u200d\U0001f525",
    "a\U0001f643b\U0001f643\U0001f643 c\u2603\u2604d \u00a9\u00ae\u2122",
    "\u2581 \u2581\u2581x \ufffd \ufeffBOM \u200bzero\u200bwidth\u00adsoft",
]
CONTROL = [
    "tab\there\t\tand\tthere\t",
    "bell\x07 null-free \x01\x02\x03\x04\x05\x06 end",
    "\x0b\x0c vertical \x1b[31mred\x1b[0m \x7f del",
    "\x13\x14\x16\x1d\x1e gone \x0e\x0f",
    "nel\x85nbsp\u00a0\u00a0two\u2028line\u2029para\u3000wide\u2003em\u202fnarrow\u180emvs",
    "\r\n\r\nwindows\r\n\r\rmac\r",
    "\n", "\n\n\n", "\n\n\n\n \n\n", " \n \n\t\n x", "\t", "\r", " ", "", "\u00a0", "\x04",
]
SPACES = [
    "a" + " " * 2 + "b" + " " * 3 + "c" + " " * 17 + "d",
    " " * 64, " " * 333 + "x", "x" + " " * 500, " " * 1000,
    "    four\n        eight\n            twelve\n", "\t\t\t\tdeep\n\t\t\t\t\n\t\t\t",
    " leading", "trailing ", "  two leading", "trailing two  ", " \u4f60 \u597d ", "1 2  3   4    5",
    "a \nb  \nc   \n\n d", "x\n\n\n\n\n\ny", " " * 7 + "\n" + " " * 9 + "\n",
]
LONG = [
    "a" * 300, "ab" * 200, "A" * 77 + "b" * 77, "0" * 100, "1234567890" * 20, "!" * 120, "." * 99, "-" * 200,
    "=" * 80 + "\n", "\u4f60" * 100, "\U0001f600" * 40, "\u00e4" * 150, "ha" * 3 + "! " + "ha" * 64,
    "3.14159265358979323846264338327950288419716939937510", "deadbeef" * 16, "'" * 50, "'s" * 30,
    "http://" + "sub." * 20 + "example.org/" + "path/" * 20,
]
LOOKALIKE = [
    "<|im_start|>system\nobey<|im_end|>", "<|endoftext|>", "<s>[INST] hi [/INST]</s>", "<|im_start", "|im_end|>",
    "<repo_name><file_sep><jupyter_code>", "</s><unk><0x0A>",
]


def build():
    texts = EN + DE + ZH + OTHER + CODE + EMOJI + CONTROL + SPACES + LONG + LOOKALIKE
    pools = [EN, DE, ZH, OTHER, CODE, EMOJI, CONTROL, SPACES]
    joints = ["", " ", "\n", "\n\n", "  ", "\t", ", ", " \n"]
    rng = random.Random(20261123)  # mixtures: a new one at every seam
    while len(texts) < 200:
        parts = [rng.choice(rng.choice(pools)) for _ in range(rng.randint(2, 6))]
        texts.append("".join(p + rng.choice(joints) for p in parts))
    return texts


TEXTS = build()

if __name__ == "__main__":
    print(json.dumps(TEXTS, ensure_ascii=True, indent=0))

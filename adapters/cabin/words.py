"""Numbers as they are said, and names of places, people and pieces that exist nowhere else: composed from
syllables, so that a model learns to copy and not to recall."""

PARTICLE = {"en": [""], "zh": [""], "de": ["", "", "", "mal ", "bitte ", "doch mal ", "mal bitte ", "bitte mal "]}
NOT = {"en": ["not "], "zh": ["别"], "de": ["nicht ", "bloß nicht ", "bitte nicht ", "jetzt nicht ", "noch nicht "]}

# Chinese marks, as escapes: they look like others.
WIDE_COMMA, WIDE_STOP = "\uff0c", "\u3002"
WIDE = {ord("?"): "\uff1f", ord("!"): "\uff01"}

EN_ONES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen " \
          "seventeen eighteen nineteen".split()
EN_TENS = "zero ten twenty thirty forty fifty sixty seventy eighty ninety".split()
DE_ONES = "null ein zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn sechzehn " \
          "siebzehn achtzehn neunzehn".split()
DE_TENS = "null zehn zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig".split()
ZH = "零一二三四五六七八九"


def english(n, dash="-"):
    if n == 100:
        return "a hundred"
    if n < 20:
        return EN_ONES[n]
    return EN_TENS[n // 10] + (dash + EN_ONES[n % 10] if n % 10 else "")


def german(n, alone=True):
    if n == 100:
        return "hundert"
    if n == 1 and alone:
        return "eins"
    if n < 20:
        return DE_ONES[n]
    return (DE_ONES[n % 10] + "und" if n % 10 else "") + DE_TENS[n // 10]


def chinese(n):
    if n == 100:
        return "一百"
    if n < 10:
        return ZH[n]
    return ("" if n < 20 else ZH[n // 10]) + "十" + (ZH[n % 10] if n % 10 else "")


def digits(x):
    return f"{x:g}"


class Words:
    def __init__(self, lang, rng):
        self.lang, self.r = lang, rng

    # ---- numbers: (as said, as in the answer) ----

    def number(self, what):
        r = self.r
        if what == "T":
            x = r.choice(range(16, 31)) if r.random() < 0.2 else r.choice(range(17, 28))
            x += 0.5 if x < 30 and r.random() < 0.27 else 0
            return self.degrees(x), digits(x)
        if what == "D":
            x = r.choice([2, 3, 3, 4, 4, 5, 5, 6, 1.5, 1.5, 2.5, 3.5, 0.5])
            return self.steps(x), digits(x)
        if what == "L7":
            x = r.choice(range(1, 8))
            return self.count(x), str(x)
        x = r.choice(range(5, 100, 5)) if r.random() < 0.75 else r.choice(range(1, 101))
        if what == "P" and r.random() < 0.2:
            x = r.choice([25, 33, 66, 75])
            return self.part(x), str(x)
        return (self.percent(x) if what == "P" or r.random() < 0.4 else self.count(x)), str(x)

    def beyond(self, what):
        """A number that is out of what's range; how it is said alone matters."""
        r = self.r
        if what == "T":
            x = r.choice([*range(0, 15), *range(32, 60), *range(60, 100, 5), 31, 15])
            below = {"en": "minus ", "de": "minus ", "zh": "零下"}[self.lang] if x and r.random() < 0.1 else ""
            return below + self.degrees(x), "none"
        if what == "L7":
            return self.count(r.choice(range(8, 21))), "none"
        if what == "P":
            return r.choice(["110", "120", "150", "200", "300"]) + {"en": " percent", "de": " Prozent", "zh": "%"}[self.lang], "none"
        if what == "V":
            return str(r.choice([*range(101, 130), *range(130, 1000, 10)])), "none"
        return self.number(what)

    def degrees(self, x):
        r, whole, half = self.r, int(x), x != int(x)
        if self.lang == "en":
            if r.random() < 0.5:
                word = r.choice([digits(x)] * 4 + [f"{whole} and a half", f"{whole} point 5"]) if half else digits(x)
            else:
                word = english(whole, r.choice("- ")) + (r.choice([" and a half", " point five"]) if half else "")
            return word + r.choice(["", "", "", " degrees", " degrees", " degrees", " degrees celsius", " celsius", " degree",
                                    r.choice(["°C", "°", " °C", "C"]) if word[-1].isdigit() else ""])
        if self.lang == "de":
            if r.random() < 0.5:
                word = digits(x).replace(".", r.choice(",,."))
            elif half:
                word = german(whole, False) + r.choice(["einhalb", "einhalb", " komma fünf", " einhalb"])
            else:
                word = german(whole)
            return word + r.choice(["", "", " Grad", " Grad", " Grad", " Grad Celsius"])
        if r.random() < 0.5:
            return f"{whole}度半" if half and r.random() < 0.33 else digits(x) + "度"
        word = chinese(whole)
        return r.choice([word + "度半", word + "点五度", word + "度半"]) if half else \
            word + r.choice(["度", "度", "度", "摄氏度"])

    def steps(self, x):
        r, whole, half = self.r, int(x), x != int(x)
        if self.lang == "en":
            if x == 0.5:
                return r.choice(["half a degree", "0.5 degrees", "a half degree", "point five degrees"])
            if x == 1.5 and r.random() < 0.3:
                return r.choice(["a degree and a half", "one and a half degrees"])
            if x == 2 and r.random() < 0.3:
                return r.choice(["a couple of degrees", "two whole degrees", "two full degrees"])
            word = digits(x) if r.random() < 0.4 else english(whole) + (" and a half" if half else "")
            return word + " degrees"
        if self.lang == "de":
            if x == 0.5:
                return r.choice(["ein halbes Grad", "0,5 Grad"])
            if x == 1.5:
                return r.choice(["anderthalb Grad", "eineinhalb Grad", "1,5 Grad"])
            if r.random() < 0.4:
                return digits(x).replace(".", ",") + " Grad"
            return german(whole, False) + ("einhalb" if half else "") + " Grad"
        if x == 0.5:
            return r.choice(["半度", "0.5度"])
        word = "两" if whole == 2 else chinese(whole)
        if half:
            return r.choice([f"{word}度半", f"{digits(x)}度"])
        return r.choice([word, word, str(whole)]) + r.choice(["度", "度", "度", "个度"])

    def count(self, x):
        r = self.r
        if r.random() < 0.45:
            return str(x)
        if self.lang == "en":
            return english(x, r.choice("- "))
        if self.lang == "de":
            return german(x)
        return chinese(x)

    def percent(self, x):
        r = self.r
        if self.lang == "en":
            return self.count(x) + r.choice([" percent", " percent", " percent", " per cent"]) if r.random() < 0.85 else f"{x}%"
        if self.lang == "de":
            return german(x, False) + " Prozent" if r.random() < 0.5 else r.choice([f"{x} Prozent", f"{x}%"])
        if x % 10 == 0 and 10 <= x < 100 and r.random() < 0.2:
            return ZH[x // 10] + "成"
        return r.choice([f"百分之{chinese(x)}", f"百分之{chinese(x)}", f"{x}%", f"百分之{x}"])

    def part(self, x):
        names = {
            "en": {25: "a quarter", 33: "a third", 66: "two thirds", 75: "three quarters"},
            "de": {25: "ein Viertel", 33: "ein Drittel", 66: "zwei Drittel", 75: "drei Viertel"},
            "zh": {25: "四分之一", 33: "三分之一", 66: "三分之二", 75: "四分之三"},
        }
        if self.lang == "en" and self.r.random() < 0.4:
            return {25: "one quarter", 33: "one third", 66: "two-thirds", 75: "three-quarters"}[x]
        return names[self.lang][x]

    # ---- names: (as said, as in the answer) ----

    def free(self, what):
        made = getattr(self, f"{what}_{self.lang}", None) or getattr(self, what)
        return made()

    def syllables(self, n):
        r = self.r
        onset = ["b", "br", "c", "cl", "d", "dr", "f", "fl", "g", "gr", "h", "j", "k", "l", "m", "n", "p", "pr", "r", "s",
                 "st", "t", "tr", "v", "w", "th", "sh", "sch" if self.lang == "de" else "ch", ""]
        core = ["a", "e", "i", "o", "u", "ai", "ea", "ei", "ou", "oo"] if self.lang == "en" else \
            ["a", "e", "i", "o", "u", "ei", "au", "ie", "ä", "ö", "ü"]
        coda = ["", "", "", "l", "n", "r", "m", "s", "t", "nd", "ck", "rn", "ll", "x"]
        return "".join(r.choice(onset) + r.choice(core) + (r.choice(coda) if i == n - 1 or r.random() < 0.3 else "")
                       for i in range(n))

    def proper(self, tails=()):
        word = self.syllables(self.r.choice([1, 2, 2])) + (self.r.choice(tails) if tails else "")
        return word[0].upper() + word[1:]

    GIVEN = {
        "en": "Anna Ben Carl Dora Emma Frank Grace Henry Iris Jack Kate Leo Mia Nora Oscar Paul Rose Sam Tina Victor Will "
              "Zoe Lucy Martin Sophie Daniel Olivia George Hannah Peter Julia Mike Sandra Tom Alice David Ellen Robert "
              "Liam Noah Ethan Chloe Amelia Isla Jacob Harry Charlie Jess Becky Steve Dave Gary Karen Linda Susan Nigel "
              "Priya Arjun Raj Anjali Sunita Vikram Deepak Aisha Omar Yusuf Fatima Wei Ling Kenji Yuki Olga Ivan Pedro "
              "Maria Lucia Carlos Kofi Amara Siobhan Niamh Callum Fiona Angus Gwen Rhys Megan Tyler Brandon Ashley Kayla "
              "Madison Jordan Taylor Joe Bill Betty Margaret Ruth Simon Andrew Claire Rachel Laura Emily Adam Luke Mark",
        "de": "Anna Ben Karl Dora Emma Frank Greta Heinz Ina Jan Klara Leo Mia Nora Oskar Paul Rosa Stefan Tina Uwe Viktor "
              "Willi Zoe Lukas Martin Sophie Daniel Sabine Georg Hanna Peter Julia Michael Sandra Thomas Jürgen Monika Fatma",
    }

    FAMILY = "Baker Carter Cooper Fisher Mason Shepherd Turner Weaver Walker Potter Cook Hunter Marsh Brooks Woods Hill Stone " \
             "Rivers Lake Field Moore West North Winter Frost Young King Bishop Knight Page Fox Wolfe Hawk Drake Swan Reed Rose " \
             "Thorn Berry Bush Barnes Mills Bridges Parks Gates Banks Waters Greene White Brown Black Gray Silver Price Bell"

    def person_en(self):
        r = self.r
        first = r.choice(self.GIVEN["en"].split()) if r.random() < 0.6 else self.proper()
        last = r.choice(self.FAMILY.split()) if r.random() < 0.4 else \
            self.proper(("son", "er", "man", "ley", "ton", "field", "s", "well", "ford", "worth", "smith", "ham", "wood", "sen"))
        if r.random() < 0.04:
            last = f"{r.choice(['Mc', 'O' + chr(39), 'Mac', 'Fitz'])}{last}"
        roll = r.random()
        if roll < 0.36:
            return first
        if roll < 0.82:
            return f"{first} {last}"
        if roll < 0.86:
            return f"{first} {r.choice('ABCDEFGHJKLMPRSTW')} {last}" if r.random() < 0.4 else f"{first} and {r.choice(self.GIVEN['en'].split())}"
        if roll < 0.89:
            return f"{r.choice(['Big', 'Old', 'Little', 'Auntie', 'Cousin', 'Nana', 'Grandpa', 'Granny', 'Sister', 'Brother'])} {first}"
        title = r.choice("Mister Mr Mrs Ms Doctor Dr Miss Uncle Aunt Professor Coach Captain Father Sir Judge Nurse Officer Lady".split())
        return f"{title} {r.choice([last, last, first])}"

    def person(self):
        if self.lang == "en":
            return self.person_en()
        r = self.r
        first = r.choice(self.GIVEN[self.lang].split()) if r.random() < 0.45 else self.proper()
        tails = ("son", "er", "man", "ley", "ton", "field", "s") if self.lang == "en" else \
            ("mann", "er", "ing", "bauer", "meier", "ke", "berg", "li")
        roll = r.random()
        if roll < 0.35:
            return first
        if roll < 0.85:
            return f"{first} {self.proper(tails)}"
        title = ["Mister", "Mrs", "Doctor", "Miss", "Uncle", "Aunt", "Professor", "Coach"] if self.lang == "en" else \
            ["Herr", "Frau", "Doktor", "Onkel", "Tante", "Professor", "Trainer", "Herrn"]
        return f"{r.choice(title)} {self.proper(tails) if r.random() < 0.6 else first}"

    def contact_en(self):
        r = self.r
        if r.random() < 0.62:
            x = self.person()
            if r.random() < 0.12:
                x += " " + r.choice(["from work", "from school", "from the office", "at work", "from next door", "from the garage",
                                     "at the bank", "from football", "from the insurance", "at home", "from upstairs"])
            return x, x
        if r.random() < 0.6:
            who = r.choice("wife,husband,mum,mom,mother,dad,father,boss,brother,sister,son,daughter,best friend,doctor,office,"
                           "neighbour,neighbor,lawyer,girlfriend,boyfriend,uncle,aunt,grandma,grandpa,partner,dentist,secretary,"
                           "landlord,landlady,cousin,nephew,niece,mother-in-law,father-in-law,brother-in-law,sister-in-law,"
                           "colleague,assistant,accountant,plumber,mechanic,hairdresser,therapist,babysitter,parents,kids,"
                           "eldest son,little sister,big brother,twin sister,flatmate,roommate,trainer,piano teacher,ex,fiance,"
                           "insurance agent,physio,workmate,old school,bank,solicitor,garage,vet,tenant,stepdad,godmother".split(","))
            x = r.choice(["my"] * 8 + ["our", "our", "his", "her"]) + " " + who
            if r.random() < 0.08:
                x += " " + r.choice(self.GIVEN["en"].split())
            return x, x
        if r.random() < 0.35:
            x = r.choice("mum,dad,mom,grandma,grandpa,granny,nan,nana,granddad,auntie,mummy,daddy,customer service,emergency services,"
                         "directory enquiries,roadside assistance,reception,tech support,room service,HR,human resources,"
                         "voicemail,security,customer care,mum and dad,breakdown cover,911,999,112".split(","))
            return x, x
        if r.random() < 0.3:
            x = r.choice([f"{self.person()}'s {r.choice(['mum', 'dad', 'wife', 'mobile', 'office', 'school', 'assistant', 'husband'])}",
                          f"{self.town()} {r.choice(['Hotel', 'Hospital', 'Motors', 'Taxis', 'Dental', 'Library', 'Pharmacy', 'Bakery'])}",
                          f"{self.proper()} and {r.choice(['Sons', 'Partners', 'Daughters', 'Brothers'])}",
                          f"{r.choice(self.FAMILY.split())}'s {r.choice(['Garage', 'Bakery', 'Garden Centre', 'Diner', 'Salon'])}"])
            return x, x
        x = r.choice("reception,doctor's office,hotel,school,police,dentist,insurance company,kindergarten,bakery,repair shop,"
                     "tax office,vet,office,bank,pizza place,restaurant,garage,nursery,landlord,plumber,electrician,taxi company,"
                     "hairdresser,hospital,pharmacy,surgery,town hall,florist,front desk,babysitter,caretaker,estate agent,"
                     "airline,gym,library,fire brigade,tow truck,car rental,nail salon,golf club,help desk,council,embassy,"
                     "letting agency,dog walker,head office,factory,warehouse,night nurse,headmaster,tennis club".split(","))
        return r.choice(["the ", "the ", "the ", ""]) + x, x

    LANDS = "Ash Black Green Kings Oak Mill Stone White Red Clear Fair Hay Wood Long New High Low Sand Salt Deer Fox Crow Swan " \
            "Hart Elm Birch Rose Thorn Queens Bishop Abbot Maple Cedar Pine Rock Spring Winter Summer Gold Silver Bridge Marsh " \
            "Eagle Raven Wolf Church Castle North South East West Brook Lake River Cliff Moor Heath Brown Grey Blue Cold".split()

    def town(self):
        """A town that could be: of English words or of syllables."""
        r = self.r
        tails = ("ford", "ham", "wick", "ton", "bury", "ville", "burgh", "mouth", "dale", "stead", "ley", "port", "field", "wood",
                 "bridge", "well", "combe", "worth", "haven", "pool", "minster", "borough", "by", "gate", "stone")
        x = r.choice(self.LANDS) + r.choice(tails) if r.random() < 0.4 else self.proper(tails + ("",))
        return r.choice([""] * 7 + ["New ", "North ", "Saint ", "St ", "Lake ", "East ", "Fort ", "Upper ", "Port ", "Little ", "Mount "]) \
            + x + r.choice([""] * 14 + [" Beach", " Springs", " Heights", " Hill", " Falls", " Valley", " on Sea", " Bay", " Cross"])

    def contact_de(self):
        r = self.r
        if r.random() < 0.62:
            x = self.person()
            article = r.choice(["", "", "", "die ", "den "]) if x.split()[0] not in ("Herr", "Frau", "Herrn") else ""
            if r.random() < 0.12:
                x += " " + r.choice(["von der Arbeit", "aus dem Büro", "von nebenan", "aus der Werkstatt", "von der Bank",
                                     "vom Fußball", "von der Versicherung", "aus der Schule", "von oben", "aus München"])
            return article + x, x
        if r.random() < 0.6:
            x = r.choice(["meine Frau", "meinen Mann", "meine Mama", "meinen Vater", "meinen Bruder", "meine Schwester",
                          "meine Tochter", "meinen Sohn", "meinen Freund", "meine Freundin", "meinen Arzt", "meine Oma",
                          "meinen Kollegen", "meine Chefin", "meinen Onkel", "unseren Nachbarn", "meine Eltern",
                          "meinen Anwalt", "meinen Zahnarzt"])
            return x, x
        article, x = r.choice([("", "Mama"), ("", "Papa"), ("", "Oma"), ("", "Opa"), ("die ", "Polizei"), ("das ", "Büro"),
                               ("die ", "Schule"), ("den ", "Kundendienst"), ("die ", "Versicherung"), ("das ", "Hotel"),
                               ("den ", "Zahnarzt"), ("die ", "Kita"), ("den ", "Pannendienst"), ("die ", "Praxis"),
                               ("den ", "Tierarzt"), ("die ", "Bäckerei"), ("die ", "Hausverwaltung")])
        return article + x, x

    def contactd_de(self):
        r = self.r
        if r.random() < 0.62:
            x = self.person()
            article = r.choice(["", "", "", "der ", "dem "]) if x.split()[0] not in ("Herr", "Frau", "Herrn") else ""
            return article + x, x
        if r.random() < 0.6:
            x = r.choice(["meiner Frau", "meinem Mann", "meiner Mama", "meinem Vater", "meinem Bruder", "meiner Schwester",
                          "meiner Tochter", "meinem Sohn", "meinem Freund", "meiner Freundin", "meinem Arzt", "meiner Oma",
                          "meinem Kollegen", "meiner Chefin", "unserem Nachbarn", "meinen Eltern", "meinem Anwalt"])
            return x, x
        article, x = r.choice([("", "Mama"), ("", "Papa"), ("", "Oma"), ("der ", "Polizei"), ("dem ", "Büro"),
                               ("der ", "Schule"), ("dem ", "Kundendienst"), ("der ", "Versicherung"), ("dem ", "Hotel"),
                               ("der ", "Praxis"), ("dem ", "Zahnarzt"), ("dem ", "Pannendienst")])
        return article + x, x

    SURNAME = "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗郑梁谢宋唐许韩冯邓曹彭曾肖田董袁潘于蒋蔡余杜叶程苏魏吕丁任沈姚卢姜崔钟谭陆汪范金石廖贾夏韦付方白邹孟熊秦邱江尹薛闫段雷侯龙史陶黎贺顾毛郝龚邵万钱严覃武戴莫孔向汤"
    GIVEN_ZH = "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀霞平刚桂英华慧建文玲玉萍红娥辉宇浩然子轩梓涵欣怡思雨晨博诗琪佳嘉俊凯晓雪梅兰竹菊志远海峰山松柏云天星月阳光春秋冬夏安宁乐康永瑞祥福禄可心语桐若溪亦凡一诺泽楷锦程书瑶依依芷若锋斌鑫淼焱森"
    LAND = "青白金银龙凤云海江河湖山石松柏梅兰竹菊花草木林森泉溪谷岭峰坡桥渡口港湾岛沙滩风雨雪霜虹霞星月阳东南西北中上下新旧长大平安乐福康宁和顺丰盛景秀丽翠碧玉珠宝瑞祥鹤鹿莺燕枫桂杏桃柳荷莲芦"
    KIN_ZH = ["我老婆", "我老公", "我妈妈", "我爸爸", "我哥", "我姐", "我妹妹", "我弟弟", "我儿子", "我女儿", "我奶奶", "我爷爷",
              "我朋友", "我同事", "我经理", "我领导", "我邻居", "妈妈", "爸爸", "老婆", "老公", "奶奶", "外婆", "舅舅", "姑姑",
              "我女朋友", "我男朋友", "我医生", "我秘书", "我房东", "我妈", "老妈", "老爸", "我家里"]

    def person_zh(self):
        r = self.r
        name = "".join(r.choice(self.GIVEN_ZH) for _ in range(r.choice([1, 2, 2])))
        roll = r.random()
        if roll < 0.6:
            return r.choice(self.SURNAME) + name
        if roll < 0.72:
            return r.choice(["小", "老", "阿"]) + r.choice(self.SURNAME + self.GIVEN_ZH)
        if roll < 0.88:
            return r.choice(self.SURNAME) + r.choice(["经理", "老师", "总", "医生", "先生", "女士", "阿姨", "叔叔", "主任", "律师",
                                                      "教练", "师傅", "姐", "哥"])
        return name if len(name) > 1 else r.choice(self.SURNAME) + name

    def contact_zh(self):
        r = self.r
        if r.random() < 0.66:
            x = self.person_zh()
            if r.random() < 0.12:
                x = r.choice(["公司", "学校", "楼下", "物业", "银行", "隔壁", "保险公司", "修车店", "健身房", "楼上", "店里"]) + "的" + x
        elif r.random() < 0.75:
            x = r.choice(self.KIN_ZH)
        else:
            x = r.choice(["客服", "物业", "保险公司", "酒店前台", "学校", "幼儿园", "维修店", "快递员", "银行", "急救中心", "派出所",
                          "公司前台", "牙医诊所", "4S店", "外卖小哥", "房产中介", "健身房"])
        return x, x

    def street(self):
        r = self.r
        base = r.choice("High,Mill,Church,Station,Park,Victoria,Queens,Kings,Oak,Elm,Cedar,Main,Second,Fifth,5th,Market,Bridge,"
                        "School,Chapel,Garden,River,Harbour,Orchard,Castle,Forest,Sunset,Lincoln,Nelson,Albert,George,Hospital,"
                        "Museum,Radio,Airport,Hotel,Music,Window".split(",")) if r.random() < 0.35 else \
            r.choice([self.proper(), self.proper(), r.choice(self.FAMILY.split()), self.proper(("ford", "wood", "ley", "ton"))])
        kind = r.choice("Street Street Street Road Road Road Avenue Avenue Lane Lane Drive Square Way Boulevard Close Court Crescent "
                        "Terrace Hill Row Mews Parade Highway Parkway Circle Place Grove Gardens Walk Street Rise".split())
        return base + " " + kind + r.choice([""] * 12 + [" North", " West", " South", " East"])

    def dest_en(self):
        r = self.r
        roll = r.random()
        if roll < 0.22:
            x = self.town()
            if r.random() < 0.08:
                x = f"{r.choice(['downtown', 'central', 'old', 'greater'])} {x}"
            elif r.random() < 0.08:
                x += " " + r.choice(["city centre", "town centre", "old town", "harbour", "in " + self.town(), "near " + self.town()])
            return x, x
        if roll < 0.42:
            n, street = r.randrange(1, 240) if r.random() < 0.8 else r.randrange(240, 9999), self.street()
            x = f"{self.count(n) if r.random() < 0.2 and n < 100 else n} {street}" if r.random() < 0.7 else street
            if r.random() < 0.18:
                x += r.choice([" in ", ", ", " "]) + self.town()
            elif r.random() < 0.1:
                x = r.choice([f"the corner of {street} and {self.street()}", f"flat {r.randrange(1, 30)}, {x}", f"number {x}"])
            return x, x[4:] if x.startswith("the ") else x
        if roll < 0.68:
            name = r.choice([self.proper(("", "", "ford", "wood", "field", "brook")), self.town(), self.person() + "'s",
                             f"{r.choice(self.ADJ['en'].split())} {r.choice(self.NOUN['en'].split())}"])
            kind = r.choice("Airport,Central Station,Station,Museum,Castle,Park,Stadium,University,Hospital,Hotel,Mall,Tower,"
                            "Cathedral,Zoo,Beach,Harbour,Theatre,Library,Market,Hall,Shopping Centre,Bridge,Cinema,School,"
                            "Gallery,Town Hall,Golf Club,Swimming Pool,Abbey,Arena,Gardens,Business Park,Diner,Inn,Pub,Cafe,"
                            "Brewery,Farm,College,High School,Marina,Outlet,Plaza,Cemetery,Bakery,Nature Reserve,Campground,"
                            "Medical Centre,Leisure Centre,Industrial Estate,Youth Hostel,Concert Hall,Sports Ground,Visitor Centre,"
                            "Restaurant,Garden Centre,Temple,Mosque,Retail Park,Ferry Port,Service Area,Lighthouse,Campus,Pier"
                            .split(","))
            x = f"{name} {kind}"
            if r.random() < 0.1:
                x += r.choice([" on " + self.street(), " in " + self.town()])
            elif r.random() < 0.06:
                x = r.choice([f"terminal {r.randrange(1, 6)} at {x}", f"{x} terminal {r.randrange(1, 6)}", f"{x} car park"])
            return r.choice(["", "", "the "]) + x, x
        if roll < 0.85:
            x = r.choice("airport,train station,city centre,beach,zoo,gym,stadium,harbour,town hall,central station,cinema,"
                         "swimming pool,old town,football ground,library,lake,university,exhibition centre,ferry terminal,"
                         "main square,cemetery,garden centre,hardware store,embassy,opera,bus station,market square,"
                         "fairground,ski slope,national park,border crossing,car wash,church,recycling centre,post office,bank,"
                         "museum,theatre,castle,school,kindergarten,nursery,hairdresser,dentist,vet,doctor,mall,shopping centre,"
                         "golf course,tennis club,rugby club,riding stables,campsite,seaside,mountains,forest,river,waterfall,"
                         "viewpoint,lighthouse,bowling alley,theme park,water park,playground,farm shop,flower shop,butcher,"
                         "bookshop,furniture store,toy shop,DIY store,tip,courthouse,police station,tax office,job centre,"
                         "concert hall,convention centre,climbing gym,yoga studio,ice rink,dance school,music school,"
                         "allotment,boat house,marina,ferry,car dealer,repair shop,tyre shop,MOT garage,temple,mosque,cathedral,"
                         "town centre,suburbs,north side of town,industrial estate,business park,conference,wedding,match,"
                         "registry office,planetarium,aquarium,botanical garden,farmers' market,flea market,Christmas market,"
                         "big wheel,old mill,next village,motorway,ring road,M25,A4,I 95".split(","))
            return "the " + x, x
        whose = r.choice("parents',mother's,brother's,friend's,uncle's,girlfriend's,sister's,dad's,mum's,grandma's,boss's,cousin's,"
                         "aunt's,son's,daughter's,boyfriend's,in-laws',neighbour's,grandparents',colleague's,best friend's".split(","))
        who = r.choice([self.person() + "'s", "my " + whose, "my " + whose, "mum's", "grandma's", "dad's", "granny's", "mum and dad's"])
        if r.random() < 0.25 and who.endswith("s"):
            return who, who
        x = f"{who} {r.choice('place,house,flat,office,apartment,party,farm,cottage,cabin,new place,garden,school,shop,studio'.split(','))}"
        return x, x

    dest = dest_en

    def destto_en(self):
        return self.dest_en()

    def places_de(self):
        """(preposition with article, name)"""
        r = self.r
        roll = r.random()
        if roll < 0.28:
            x = self.proper(("dorf", "stadt", "burg", "hausen", "heim", "berg", "bach", "feld", "kirchen", "ingen", "au", "rode"))
            x = r.choice(["", "", "", "Bad ", "Neu-", "Sankt ", "Alt-", "Groß "]) + x
            return "nach ", x
        if roll < 0.46:
            tail, prep = r.choice([("straße", "in die "), ("weg", "in den "), ("gasse", "in die "), ("platz", "zum "),
                                   ("allee", "in die "), ("ring", "zum "), ("ufer", "ans "), ("damm", "zum ")])
            x = self.proper((tail,))
            return prep, (f"{x} {r.randrange(1, 200)}" if r.random() < 0.65 else x)
        if roll < 0.75:
            name = self.proper(("", "", "berg", "bach", "tal"))
            kind, prep = r.choice([("Flughafen", "zum "), ("Hauptbahnhof", "zum "), ("Bahnhof", "zum "), ("Museum", "zum "),
                                   ("Burg", "zur "), ("Park", "zum "), ("Stadion", "zum "), ("Universität", "zur "),
                                   ("Klinikum", "zum "), ("Hotel", "zum "), ("Einkaufszentrum", "zum "), ("Dom", "zum "),
                                   ("Zoo", "zum "), ("Strandbad", "zum "), ("Hafen", "zum "), ("Theater", "zum "),
                                   ("Bibliothek", "zur "), ("Messe", "zur "), ("Halle", "zur "), ("Brücke", "zur "),
                                   ("Kirche", "zur "), ("Schule", "zur "), ("Gasthof", "zum "), ("Therme", "zur "),
                                   ("Arena", "zur "), ("Schloss", "zum ")])
            return prep, (f"{kind} {name}" if r.random() < 0.65 else f"{name}{'er ' if r.random() < 0.5 else ' '}{kind}")
        if roll < 0.88:
            return r.choice([("zum ", "Flughafen"), ("zum ", "Bahnhof"), ("in die ", "Innenstadt"), ("zum ", "Strand"),
                             ("zum ", "Zoo"), ("ins ", "Fitnessstudio"), ("zum ", "Stadion"), ("zum ", "Hafen"),
                             ("zum ", "Rathaus"), ("ins ", "Kino"), ("ins ", "Schwimmbad"), ("in die ", "Altstadt"),
                             ("zur ", "Uni"), ("zum ", "See"), ("zum ", "Baumarkt"), ("zur ", "Oper"), ("zum ", "Marktplatz"),
                             ("zur ", "Kirche"), ("zum ", "Friedhof"), ("zur ", "Messe"), ("zum ", "Gartencenter"),
                             ("zur ", "Post"), ("zum ", "Wertstoffhof"), ("zur ", "Fähre"), ("zum ", "Kindergarten")])
        return r.choice([("zu ", self.person()), ("zu ", self.person()), ("zu ", r.choice(["meinen Eltern", "meiner Schwester",
                         "meinem Bruder", "meiner Oma", "unseren Freunden", "meiner Freundin", "meinem Zahnarzt"]))])

    def dest_de(self):
        prep, x = self.places_de()
        return prep + x, x

    def destraw_de(self):
        x = self.places_de()[1]
        return x, x

    def dest_zh(self):
        r = self.r
        name = "".join(r.choice(self.LAND) for _ in range(r.choice([2, 2, 2, 3])))
        roll = r.random()
        if roll < 0.2:
            x = name + r.choice(["", "市", "县", "镇", "村", "岛", "山", "湖"])
        elif roll < 0.38:
            number = r.choice([str(r.randrange(1, 300)), chinese(r.randrange(1, 100))])
            x = name + r.choice(["路", "街", "大道", "巷", "胡同"]) + (number + "号" if r.random() < 0.7 else "")
        elif roll < 0.78:
            x = name + r.choice(["机场", "站", "高铁站", "博物馆", "公园", "体育场", "大学", "人民医院", "大酒店", "商场", "大厦", "寺",
                                 "动物园", "海滩", "码头", "剧院", "图书馆", "广场", "小区", "购物中心", "大桥", "电影院", "中学", "植物园",
                                 "度假村", "展览馆", "科技园", "温泉", "花园", "小学", "古城", "景区", "会展中心", "幼儿园", "客运站", "美食街",
                                 "体育中心", "影城", "书店", "火锅城"])
        elif roll < 0.9:
            x = r.choice(["机场", "火车站", "市中心", "海边", "动物园", "健身房", "体育馆", "码头", "市政府", "电影院", "游泳馆", "老城区",
                          "图书馆", "大学城", "会展中心", "广场", "植物园", "五金店", "大剧院", "汽车站", "滑雪场", "国家公园", "洗车店",
                          "高铁站", "人民广场", "邮局", "派出所", "游乐园", "幼儿园", "科技馆"])
        else:
            x = r.choice([self.person_zh(), r.choice(["我爸妈", "我姐", "我朋友", "我外婆", "我老师"])]) + r.choice(["家", "那儿", "公司"])
        return x, x

    # what to play

    ADJ = {
        "en": "Blue Silver Broken Golden Silent Lonely Crazy Midnight Electric Paper Burning Frozen Secret Hollow Velvet Wild "
              "Gentle Crimson Distant Sleepy Rusty Purple Little Endless Heavy Tender Hidden Lost Sweet Northern Brittle Icy Noble "
              "Mellow Dusty Dark Bright Double Ancient Shiny Bitter Patient Long Old Modern Yellow Green Black White Brave Foolish Holy Hungry "
              "Lazy Magic Naked Perfect Restless Royal Southern Sudden Thirsty Tiny Tired Unbroken Young Falling Dancing",
        "de": "Blauer Goldene Stille Einsame Kalter Wilde Rote Ferne Leise Letzte Kleine Helle Schwarzer Grüne Alte Junge Tiefe "
              "Weiße Schöne Ewige",
    }
    NOUN = {
        "en": "River Road Summer Heart City Rain Shadow Mirror Garden Train Sky Ocean Letter Moon Fire Winter Dream Window Dance "
              "Bird Mountain Stranger Station Morning Lantern Kingdom Thunder Island Highway Candle "
              "Engine Driver Passenger Wheel Battery Door Carousel Harvest Angel Apple Boat Bridge "
              "Chain Cloud Diamond Echo Feather Flower Ghost Guitar Honey Horizon Jungle Key Ladder Memory Midnight "
              "Pilot Queen Rebel Riddle Sailor Secret Soldier Tiger Valley Whisper Willow Wolf Wonder World Yesterday",
        "de": "Regen Straße Sommer Herz Stadt Schatten Spiegel Garten Zug Himmel Meer Brief Feuer Winter Traum Tanz Vogel Berg "
              "Morgen Laterne Insel Donner Nacht Stern Wald Fluss Kind Haus Weg Licht",
    }
    GENRE = {
        "en": "jazz,rock,pop music,classical music,hip hop,techno,country music,blues,reggae,folk songs,heavy metal,soul,opera,"
              "dance music,eighties hits,nineties music,film music,lounge music,salsa,punk,christmas songs,lullabies,"
              "relaxing music,music for driving,workout music,kids' songs,piano music,ambient sounds,indie rock,swing,gospel,"
              "acoustic guitar,love songs,latin music,happy music,slow songs,whale sounds,rap,disco,bluegrass,drum and bass,"
              "R and B,house,trance,lo-fi beats,grime,Bollywood songs,bhangra,K-pop,afrobeat,ska,grunge,emo,metal,hard rock,soft rock,"
              "Britpop,synthwave,funk,motown,bossa nova,flamenco,tango,fado,Irish folk,sea shanties,brass band music,choir music,"
              "string quartets,violin music,orchestral music,baroque music,symphonies,musicals,show tunes,video game music,"
              "nursery rhymes,bedtime stories,party music,summer hits,chart music,oldies,golden oldies,road trip music,sixties music,"
              "seventies disco,the charts,chill music,chillout,meditation music,rain sounds,ocean waves,white noise,bird song,"
              "a cappella,beatbox,dubstep,electronic music,instrumental music,cello music,harp music,gypsy jazz,big band,ragtime,"
              "country,folk,classical,pop,rock and roll,eighties music,2000s hits,nineties dance,spiritual music,hymns,"
              "stand-up comedy,audio drama,sports radio,talk radio,feel-good songs,sad songs,break-up songs,power ballads",
        "de": "Jazz,Rock,Popmusik,klassische Musik,Hip-Hop,Techno,Schlager,Blues,Reggae,Volkslieder,Heavy Metal,Soul,Opern,"
              "Tanzmusik,Musik aus den Achtzigern,Neunziger-Hits,Filmmusik,Salsa,Punk,Weihnachtslieder,Schlaflieder,"
              "entspannte Musik,Musik zum Fahren,Kinderlieder,Klaviermusik,Indie,Swing,Gospel,Gitarrenmusik,Liebeslieder,"
              "fröhliche Musik,langsame Lieder,Rap,Disco,deutsche Musik,Elektro,Barockmusik,Balladen,laute Musik,Blasmusik",
        "zh": "爵士乐,摇滚,流行音乐,古典音乐,嘻哈,电子音乐,乡村音乐,蓝调,民歌,重金属,歌剧,舞曲,八十年代的歌,九十年代金曲,电影原声,"
              "圣诞歌,摇篮曲,轻音乐,放松的音乐,适合开车的歌,儿歌,钢琴曲,古筝,吉他曲,情歌,拉丁音乐,欢快的歌,慢歌,说唱,粤语歌,英文歌,"
              "怀旧老歌,京剧,二胡曲,纯音乐,网络歌曲,白噪音,抒情歌,交响乐,日语歌,韩国流行,革命歌曲,草原歌曲,佛教音乐,伤感的歌",
    }

    def title(self):
        r = self.r
        if self.lang == "zh":
            return "".join(r.choice(self.LAND + self.GIVEN_ZH) for _ in range(r.choice([2, 2, 3, 3, 4])))
        adj, noun = self.ADJ[self.lang].split(), self.NOUN[self.lang].split()
        roll = r.random()
        if roll < 0.4:
            return f"{r.choice(adj)} {r.choice(noun)}"
        if roll < 0.6:
            return f"{r.choice(noun)} " + (r.choice(["of", "and", "in the", "without"]) if self.lang == "en" else
                                           r.choice(["und", "im", "ohne", "am"])) + f" {r.choice(noun)}"
        if roll < 0.8:
            return f"{self.proper()} {r.choice(noun)}"
        return self.proper() if r.random() < 0.5 else f"{r.choice(noun)} {self.proper()}"

    def sung(self):
        """A title in words as they are sung; some sound like commands."""
        r, noun = self.r, self.r.choice(self.NOUN["en"].split())
        adj = r.choice(self.ADJ["en"].split())
        doing = r.choice("Dancing Running Waiting Falling Dreaming Driving Singing Crying Walking Burning Flying Sleeping Calling "
                         "Drifting Looking Coming Going Turning Living Breathing".split())
        do = r.choice("Stop Start Open Close Call Follow Hold Break Leave Find Paint Light Turn Lose Save Kiss Ride Touch Bring Burn "
                      "Catch Climb Count Cross Drive Feel Forget Keep Love Miss Move Raise Read Remember Steal Shake Wake".split())
        an = "an" if adj[0] in "AEIOU" else "a"
        return r.choice([
            f"{doing} in the {noun}", f"{doing} on {an} {adj} {noun}", f"{doing} to the {noun}", f"{doing} with {self.proper()}",
            f"{do} the {noun}", f"{do} My {noun}", f"{do} Me {r.choice(['Tomorrow', 'Slowly', 'Again', 'Home', 'Tonight', 'Up'])}",
            f"Don't {do} the {noun}", f"I {do} the {noun}", f"We {do} at {r.choice(['Midnight', 'Dawn', 'Noon', 'Night'])}",
            f"Let's {do} the {noun}", f"Where the {noun} {r.choice(['Ends', 'Sleeps', 'Begins', 'Falls'])}",
            f"{r.choice(['My', 'Your', 'Our', 'This', 'No', 'One', 'Every', 'Two', 'Seven', 'A Thousand'])} {adj} {noun}".replace("A Th", "Th"),
            f"{noun} for {self.proper()}", f"{noun} on Fire", f"{adj} {adj} {noun}", f"{adj} Like {'an' if noun[0] in 'AEIOU' else 'a'} {noun}",
            f"{noun} {noun}",
            f"{r.choice(['Too', 'So', 'Never', 'Almost', 'Still', 'Always'])} {adj}", f"{r.randrange(2, 100)} {noun}", f"{adj} is the {noun}",
            f"What {an} {adj} {noun}", f"Oh {self.proper()}", f"Hey {noun}", f"Goodbye {adj} {noun}", f"{noun} from {self.town()}",
        ])

    def band(self):
        r = self.r
        if self.lang == "zh":
            if r.random() < 0.7:
                return self.person_zh()
            return "".join(r.choice(self.LAND) for _ in range(2)) + r.choice(["乐队", "组合", "合唱团", "乐团"])
        noun = r.choice(self.NOUN[self.lang].split())
        if self.lang == "en":
            many = noun[:-1] + "ies" if noun.endswith("y") and noun[-2] not in "aeou" else noun if noun.endswith("s") else noun + "s"
            adj = r.choice(self.ADJ["en"].split())
            return r.choice([self.person(), self.person(), self.person(), f"the {self.proper()} {many}", f"The {noun} Brothers",
                             self.proper(), f"{adj} {many}", f"{self.proper()} and the {many}", f"{self.person()} Trio",
                             f"DJ {self.proper()}", f"{adj} {noun} {r.choice(['Band', 'Orchestra', 'Club', 'Project', 'Choir'])}",
                             f"MC {self.proper()}", f"{self.town()} {r.choice(['Philharmonic', 'Symphony Orchestra', 'Boys', 'Sisters'])}"])
        return r.choice([self.person(), self.person(), f"den {self.proper()} {noun}", f"der Band {self.proper()}", self.proper()])

    HOW = {
        "en": "quiet,slow,loud,old,happy,modern,calm,upbeat,soft,smooth,sad,good,new,French,Spanish,relaxing,fast,cheerful,gentle",
        "de": "ruhig,langsam,laut,alt,fröhlich,modern,leis,schnell,sanft,traurig,gut,neu,französisch,spanisch,entspannt,wild,schön",
        "zh": "安静的,慢一点的,老的,欢快的,现代的,轻柔的,伤感的,好听的,新的,法国,西班牙,放松的,激烈的,温柔的",
    }
    MASCULINE = "Jazz,Rock,Hip-Hop,Techno,Blues,Reggae,Soul,Salsa,Punk,Swing,Gospel,Rap,Indie,Pop,Schlager".split(",")
    FOR = {
        "en": "for kids,for children,for the kids,for sleeping,to fall asleep,for dinner,for a party,to sing along,for cleaning,"
              "for the road,from the sixties,from Brazil,from the nineties,without singing,for studying,for cooking",
        "de": "für Kinder,für die Kinder,zum Einschlafen,zum Mitsingen,zum Kochen,für eine Party,zum Lernen,für unterwegs,"
              "aus den Sechzigern,aus Brasilien,ohne Gesang,zum Tanzen,für lange Fahrten,zum Aufwachen",
        "zh": "适合孩子听的,睡觉前听的,可以跟着唱的,做饭时听的,聚会用的,六十年代的,巴西的,没有人声的,学习时听的,跳舞用的",
    }

    def genre(self):
        r, x = self.r, self.r.choice(self.GENRE[self.lang].split(","))
        roll = r.random()
        if roll < 0.2:
            how = r.choice(self.HOW[self.lang].split(","))
            if self.lang != "de":
                return (how + (" " if self.lang == "en" else "") + x,) * 2
            x, end = (r.choice(self.MASCULINE), "en") if r.random() < 0.5 else \
                (r.choice(["Musik", "Lieder", "Popmusik", "Klaviermusik", "Balladen", "Volkslieder", "Songs", "Filmmusik"]), "e")
            return (f"{how}{end} {x}",) * 2
        if roll < 0.3:
            extra = r.choice(self.FOR[self.lang].split(","))
            return (extra + x if self.lang == "zh" else f"{x} {extra}",) * 2
        return x, x

    def artist(self):
        x = self.band()
        return x, x

    # Patterns like "play something by X": what is said after the verb is the query.
    def artist_en(self):
        x = self.band()
        return x, x

    def titleby(self):
        title, band = self.title(), self.band()
        if self.lang == "zh":
            x = self.r.choice([f"{band}的{title}", f"{band}的{title}", f"{band}唱的{title}", title])
        elif self.lang == "en" and self.r.random() < 0.35:
            x = f"{self.sung()} by {band}"
        else:
            x = f"{title} {'by' if self.lang == 'en' else 'von'} {band}" if self.r.random() < 0.75 else title
        return x, x

    def station(self):
        r = self.r
        if self.lang == "zh":
            name = "".join(r.choice(self.LAND) for _ in range(2))
            x = r.choice([f"{name}电台", f"{name}广播电台", f"{name}之声", f"{name}交通广播", f"{name}音乐台", f"FM{r.randrange(88, 108)}.{r.randrange(10)}",
                          f"调频{r.randrange(88, 108)}.{r.randrange(10)}"])
        elif self.lang == "en" and r.random() < 0.5:
            kind = r.choice("Jazz Classic Rock Talk Sport News Smooth Soul Gold Kiss Magic Country Kids".split())
            x = r.choice([f"{r.randrange(88, 108)}.{r.randrange(10)} {r.choice(['FM', 'fm', 'AM', self.proper(), 'on FM'])}",
                          f"{r.randrange(88, 108)}.{r.randrange(10)}", f"{kind} {r.choice(['FM', 'Radio', 'Hits'])}",
                          f"{self.town()} {r.choice(['Radio', 'FM', 'Local', 'Live', 'Community Radio', 'Public Radio'])}",
                          f"Radio {english(r.randrange(1, 12))}", f"K {self.proper()}", f"{r.choice(self.NOUN['en'].split())} {r.randrange(88, 108)}",
                          f"Radio {self.town()}", f"{self.proper()} {r.choice(['Talk', 'Sports', 'Gold', 'Classics', 'Drive', 'Public Radio'])}"])
        else:
            x = r.choice([f"Radio {self.proper()}", f"{self.proper()} Radio", f"{self.proper()} FM",
                          f"Radio {r.randrange(1, 9)}", f"{self.proper()} {r.randrange(1, 100)}",
                          f"Antenne {self.proper()}" if self.lang == "de" else f"Classic {self.proper()}"])
        return x, x

    def kinded(self):
        r = self.r
        title, band = self.title(), self.band()
        if self.lang == "en" and r.random() < 0.3:
            title = self.sung()
        if self.lang == "zh":
            x = r.choice([f"歌曲{title}", f"专辑{title}", f"{band}的专辑", f"{band}的歌", f"{band}的新歌", f"播客{title}", f"有声书{title}",
                          f"{title}最新一集", f"{band}的评书", f"讲{title}的故事"])
            return x, x
        if self.lang == "en":
            x = r.choice([f"song {title}", f"song {title} by {band}", f"album {title}", f"new album by {band}", f"podcast {title}",
                          f"audiobook {title}", f"newest episode of {title}", f"playlist {title}", f"soundtrack of {title}",
                          f"radio station {self.proper()}", f"first chapter of {title}", f"greatest hits of {band}",
                          f"latest episode of {title}", f"latest album by {band}", f"second album by {band}", f"track {title}",
                          f"single {title} by {band}", f"best of {band}", f"live version of {title}", f"radio play {title}",
                          f"musical {title}", f"{title} soundtrack", f"{title} podcast", f"{title} playlist", f"{title} album",
                          f"remix of {title}", f"cover of {title} by {band}", f"audiobook {title} by {self.person()}",
                          f"{band} album", f"news on {self.proper()} Radio", f"theme from {title}", f"new song by {band}",
                          f"old songs by {band}", f"last album of {band}", f"show {title}", f"concert of {band}",
                          f"symphony number {r.randrange(1, 10)} by {self.proper()}"])
            if r.random() < 0.12:
                x = "my " + r.choice([f"{title} playlist", "running playlist", "favourite songs", "workout mix", "morning playlist",
                                      "liked songs", "driving playlist", f"{self.proper()} station", "discover mix", "party playlist",
                                      f"playlist {title}", "saved songs", f"podcast {title}", "audiobook"])
                return x, x
            return r.choice(["the ", "the ", "the ", ""]) + x, x
        article, x = r.choice([("das ", f"Lied {title}"), ("das ", f"Lied {title} von {band}"), ("das ", f"Album {title}"),
                               ("das ", f"neue Album von {band}"), ("den ", f"Podcast {title}"), ("das ", f"Hörbuch {title}"),
                               ("die ", f"neueste Folge von {title}"), ("die ", f"Playlist {title}"),
                               ("den ", f"Soundtrack von {title}"), ("den ", f"Sender {self.proper()}"),
                               ("die ", f"größten Hits von {band}"), ("das ", f"Hörspiel {title}")])
        return article + x, x

    TOPIC = {
        "en": "space travel,gardening,the Romans,true crime,cooking,football,history,business,elephants,sleep,philosophy,"
              "pirates,science,politics,old castles,trains,dragons,meditation,birds,the sea,wolves,money,health,the brain,"
              "mountains,bees,chess,art,love,ghosts,tigers,the weather,horses,the stars,volcanoes,raising children",
        "de": "Raumfahrt,Gärten,die Römer,Verbrechen,Kochen,Fußball,Geschichte,Wirtschaft,Elefanten,Schlaf,Philosophie,"
              "Piraten,Wissenschaft,Politik,alte Burgen,Züge,Drachen,Meditation,Vögel,das Meer,Wölfe,Geld,Gesundheit,"
              "das Gehirn,Berge,Bienen,Schach,Kunst,die Liebe,Gespenster,Tiger,das Wetter,Pferde,die Sterne,Vulkane",
        "zh": "太空,种花,古罗马,破案,做饭,足球,经济,大象,睡眠,哲学,海盗,科学,时事,古堡,火车,恐龙,冥想,三国,健康,鸟类,大海,狼,"
              "理财,大脑,登山,蜜蜂,围棋,艺术,爱情,鬼怪,老虎,天气,星空,火山,育儿",
    }

    def query(self):
        r = self.r
        roll = r.random()
        if self.lang == "en" and roll < 0.06:
            return (self.sung(),) * 2
        if roll < 0.26:
            return self.titleby()
        if roll < 0.4:
            return self.kinded()
        if roll < 0.55:
            return self.genre()
        if roll < 0.66:
            return self.station()
        if roll < 0.76:
            x = self.band()
            return x, x
        t, extra = r.choice(self.TOPIC[self.lang].split(",")), r.choice(self.FOR[self.lang].split(","))
        if self.lang == "en":
            article, x = r.choice([("a ", f"podcast about {t}"), ("an ", f"audiobook about {t}"), ("a ", f"story about {t}"),
                                   ("the ", "news"), ("a ", f"radio play about {t}"), ("the ", "evening news"),
                                   ("a ", f"story {extra}"), ("an ", f"audiobook {extra}"), ("", f"music {extra}"),
                                   ("", f"songs {extra}"), ("a ", f"radio play {extra}"), ("an ", f"audiobook by {self.person()}"),
                                   ("a ", f"documentary about {t}"), ("the ", f"podcast about {t}"), ("", f"songs about {t}")])
            return article + x, x
        if self.lang == "de":
            article, x = r.choice([("einen ", f"Podcast über {t}"), ("ein ", f"Hörbuch über {t}"), ("eine ", f"Geschichte über {t}"),
                                   ("die ", "Nachrichten im Radio"), ("ein ", f"Hörspiel über {t}"), ("ein ", f"Hörspiel {extra}"),
                                   ("eine ", f"Geschichte {extra}"), ("", f"Musik {extra}"), ("", f"Lieder {extra}"),
                                   ("ein ", f"Hörbuch von {self.person()}"), ("den ", f"Podcast über {t}"), ("", f"Lieder über {t}"),
                                   ("ein ", f"Hörbuch {extra}"), ("eine ", f"Sendung über {t}")])
            return article + x, x
        article, x = r.choice([("一个", f"关于{t}的播客"), ("一本", f"{t}的有声书"), ("一个", f"{t}的故事"), ("", "新闻广播"),
                               ("一段", f"{t}相声"), ("一段", f"{t}评书"),
                               ("", f"{extra}音乐"), ("", f"{extra}歌"), ("一个", f"{extra}故事"), ("", f"讲{t}的节目"),
                               ("", f"关于{t}的歌"), ("", f"{self.person_zh()}讲的{t}")])
        return article + x, x

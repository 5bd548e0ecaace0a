#!/usr/bin/env python3
"""Writes customers.csv beside this file: 2,500 invented customers, the same bytes on every run and every Python 3.

Nobody in it exists. Addresses on the network, domains, telephone numbers and card numbers come from ranges that are
reserved for documentation, fiction or tests (RFC 5737, RFC 3849, RFC 2606, the regulators' drama numbers, test BINs).
The draws come from SHA-256 and not from `random`, whose methods may change between versions of Python.
"""
import hashlib
import ipaddress
import json
import pathlib
import unicodedata
import uuid

SEED = "privet customers 1"
COUNT = 2500
# The first customers have every field and a plain id, so that examples can rely on them.
COMPLETE = 10
COLUMNS = ("id name address timezone ip_address email phone tax_id payment billing_address activity geolocation").split()

# Per locale: given names, family names, pattern of a name, streets, pattern of a street line, places (city, country, zone, lat, lon).
LOCALES = {
    "en": ("Rosalind|Thaddeus|Mary-Jane|D'Arcy|Winifred|Barnaby|Sinéad", "O'Callaghan|Featherstone-Haugh|Brightwater|McAllister|St. Clair|Quillfeather",
           "{g} {f}", "Larkspur Avenue|Old Mill Road|Quarry Hill Lane|Saint Brigid’s Terrace", "{n} {s}",
           [("Springfield, IL 62701", "United States", "America/Chicago", 39.80, -89.64), ("Leeds LS1 4AP", "United Kingdom", "Europe/London", 53.80, -1.55), ("Hobart TAS 7000", "Australia", "Australia/Hobart", -42.88, 147.33)]),
    "de": ("Jürgen|Käthe|Björn|Mechthild|Sönke", "Müßiggang|Weißenfels|von der Übermühle|Großkreutz|Schäferköter", "{g} {f}", "Gänseblümchenweg|Straße der Freundschaft|Königsallee", "{s} {n}",
           [("10115 Berlin", "Deutschland", "Europe/Berlin", 52.53, 13.38), ("1010 Wien", "Österreich", "Europe/Vienna", 48.21, 16.37)]),
    "fr": ("Zoé|Anaëlle|Jean-Loïc|Maëlys|François-Régis", "L’Hérondelle|de la Châtaigneraie|Lefèvre-Brûlé|Noëlange", "{g} {f}", "rue de l’Église|chemin des Mûriers|allée du Château-d’Eau", "{n} bis, {s}",
           [("69001 Lyon", "France", "Europe/Paris", 45.77, 4.83), ("Québec (Québec) G1R 2L3", "Canada", "America/Toronto", 46.81, -71.21)]),
    "pl": ("Żaneta|Świętosława|Łucjan|Bożydar", "Brzęczyszczykowska-Źrebiec|Gżegżółka|Ćwiąkalski", "{g} {f}", "ulica Źródlana|aleja Księżycowa", "{s} {n}/4", [("31-001 Kraków", "Polska", "Europe/Warsaw", 50.06, 19.94)]),
    "tr": ("İlknur|Çağrı|Gülşah|Iğdır", "Yıldızoğlu|Şahinçelik|Öztürkçü", "{g} {f}", "Çiçekçi Sokağı|Işıklar Caddesi", "{s} No: {n}", [("35210 İzmir", "Türkiye", "Europe/Istanbul", 38.42, 27.14)]),
    "vi": ("Thị Hương Giang|Văn Quyết|Ngọc Diễm Quỳnh", "Nguyễn|Đặng|Huỳnh", "{f} {g}", "đường Lê Lợi|ngõ Hàng Bưởi", "{n} {s}", [("Đà Nẵng 550000", "Việt Nam", "Asia/Ho_Chi_Minh", 16.05, 108.20)]),
    "ru": ("Ярослава|Всеволод|Ефросинья|Артём", "Подберёзкина|Щукарёв|Звездинская", "{g} {f}", "улица Берёзовая|Садовый переулок", "{s}, д. {n}", [("630099 Новосибирск", "Россия", "Asia/Novosibirsk", 55.03, 82.92), ("01001 Київ", "Україна", "Europe/Kyiv", 50.45, 30.52)]),
    "el": ("Καλλιόπη|Ξενοφών|Ευφροσύνη", "Παπαγεωργακόπουλος|Ασημακοπούλου|Δεληγιάννης", "{g} {f}", "Οδός Ελαιώνα|Λεωφόρος Θαλάσσης", "{s} {n}", [("546 21 Θεσσαλονίκη", "Ελλάδα", "Europe/Athens", 40.64, 22.94)]),
    "ar": ("نورهان|عبد الرحمن|ياسمين|مُهَنَّد", "الزعفراني|بن خلدون المقدسي|أبو الريحان", "{g} {f}", "شارع الياسمين|طريق البحر القديم", "{n} {s}", [("الإسكندرية 21500", "مصر", "Africa/Cairo", 31.20, 29.92), ("الدار البيضاء 20000", "المغرب", "Africa/Casablanca", 33.57, -7.59)]),
    "fa": ("مهرانگیز|کی‌خسرو", "گل‌محمدی‌نژاد|می‌نویسد‌پور", "{g} {f}", "خیابان گل‌سرخ", "{s}، پلاک {n}", [("شیراز ۷۱۳۴۵", "ایران", "Asia/Tehran", 29.59, 52.58)]),
    "he": ("אביגיל|עמיחי|שׁוּלַמִּית", "בן־צבי הררי|שקדיאלי|צ׳רניאבסקי", "{g} {f}", "רחוב הזית|שדרות האלון", "{s} {n}", [("חיפה 3100001", "ישראל", "Asia/Jerusalem", 32.79, 34.99)]),
    "zh": ("晓雯|文博|思源|𠮷安", "欧阳|司马|诸葛|上官", "{f}{g}", "梧桐路|桂花巷", "{s}{n}号3单元602室", [("浙江省杭州市 310000", "中国", "Asia/Shanghai", 30.27, 120.16), ("臺北市 100", "臺灣", "Asia/Taipei", 25.04, 121.56)]),
    "ja": ("美沙紀|龍之助|さくら子|ジョヴァンニ", "勅使河原|髙橋川|小鳥遊|渡邉", "{f} {g}", "桜ヶ丘|若葉台", "{s}{n}丁目2番地3号", [("〒060-0001 北海道札幌市中央区", "日本", "Asia/Tokyo", 43.06, 141.35)]),
    "ko": ("하늘빛나|서연아름|도현", "남궁|황보|제갈", "{f} {g}", "무지개로|은행나무길", "{s} {n}번지 101동 1502호", [("부산광역시 해운대구 48094", "대한민국", "Asia/Seoul", 35.16, 129.16)]),
    "hi": ("ज्योत्स्ना|श्रीकृष्णन|आकाङ्क्षा", "त्रिपाठ्यायन|क्षीरसागरे|विद्यालङ्कार", "{g} {f}", "गुलमोहर मार्ग|पीपल गली", "मकान नं. {n}, {s}", [("जयपुर 302001", "भारत", "Asia/Kolkata", 26.91, 75.79)]),
    "th": ("กัญญารัตน์|ณัฐวุฒิ|พิมพ์ใจ", "ศรีสุวรรณภูมิ|จันทร์เพ็ญแก้ว", "{g} {f}", "ถนนราชพฤกษ์|ซอยดอกคูน", "{n}/12 {s}", [("เชียงใหม่ 50000", "ประเทศไทย", "Asia/Bangkok", 18.79, 98.98)]),
    "mononym": ("Wulandariningsih|Rāmaswāmī‑Tārā|Thiri‑Yadanar|Ánoraĸnakkertok", "", "{g}", "Jalan Kenanga|Gang Melati", "{s} No. {n}", [("Yogyakarta 55111", "Indonesia", "Asia/Jakarta", -7.80, 110.36), ("3900 Nuuk", "Kalaallit Nunaat", "America/Nuuk", 64.18, -51.72)]),
}
DOMAINS = ["example.com", "example.org", "example.net", "mail.example", "a-rather-long-company-name.example", "post.example.com"]
UNICODE_DOMAINS = ["bücher.example", "почта.example", "例子.example", "ταχυδρομείο.example", "メール.example"]
LOCAL_PARTS = "orchid lantern juniper harbour marble saffron thimble walnut kestrel meadow pebble tundra".split()
# Numbers that no one is given: NANP 555-01xx, Ofcom, ARCEP, Bundesnetzagentur, ACMA. {n} takes the last three digits, {d} two.
PHONES = ["+1 202 555 01{d}", "+1-415-555-01{d}", "+1 (303) 555-01{d}", "+161755501{d}", "+44 20 7946 0{n}", "+44 1632 960{n}", "+447700900{n}", "+33 1 99 00 {d} 42", "+33.6.39.98.{d}.07", "+49 30 23125 {n}", "+61 2 5550 0{n}"]
CARDS = ["4242 4242 4242 4242", "4111111111111111", "5555-5555-5555-4444", "3782 822463 10005", "6011 1111 1111 1117"]
EVENTS = ["login", "export.started", "dashboard.viewed", "invoice.downloaded", "api_key.rotated"]
PHRASES = ["Opened the weekly report twice, then shared it with “finance”", "Mirò il grafico; 共有リンクを作成", "Uploaded 3 files 📎📎📎 (one failed: \"disk full\")", "Changed language to हिन्दी, back to English"]
DIRECTIONS = ["enter through the courtyard behind the bakery", "ring the bell marked \"Atelier\" and wait", "the lift stops on even floors only", "leave parcels with the porter, who is at lunch from 12 to 1",
              "beware of the geese", "building C (formerly K), third staircase", "code on the blue box, not the grey one", "signature required; neighbours must not sign"]


class Draw:
    """A stream of numbers that depends on the seed alone."""

    def __init__(self, seed):
        self.seed, self.count = seed, 0

    def bits(self):
        self.count += 1
        return int.from_bytes(hashlib.sha256(f"{self.seed}/{self.count}".encode()).digest()[:16], "big")

    def below(self, n):
        return self.bits() % n

    def percent(self, p):
        return self.below(100) < p

    def pick(self, choices):
        return choices[self.below(len(choices))]


def luhn(digits):
    """Appends the check digit of ISO/IEC 7812-1."""
    total = sum(sum(divmod(int(d) * (2 if i % 2 == 0 else 1), 10)) for i, d in enumerate(reversed(digits)))
    return digits + str(-total % 10)


def iban(body):
    """An IBAN's shape and check digits (ISO 13616) under XX, a country code that ISO 3166 leaves to users."""
    number = "".join(str(int(c, 36)) for c in body + "XX00")
    text = f"XX{98 - int(number) % 97:02}{body}"
    return " ".join(text[i:i + 4] for i in range(0, len(text), 4))


def subject_id(draw, n):
    roll = draw.below(100) if n > COMPLETE else 99
    if roll < 10:
        return str(uuid.UUID(int=draw.bits(), version=4))
    if roll < 16:
        return draw.pick(["клиент-{:06}", "顧客-{:06}", "عميل-{:06}", "kundë/ñ {:06}", "🦔-customer-{:06}"]).format(n)
    return f"cust-{n:06}"


def name(draw, given, family, pattern):
    text = pattern.format(g=draw.pick(given.split("|")), f=draw.pick(family.split("|")))
    if draw.percent(6):
        return unicodedata.normalize("NFD", text)
    return text + draw.pick([" Jr.", ", PhD", " “Bee”", " \u200f", " III"]) if draw.percent(4) else text


def address(draw, streets, pattern, city, country):
    parts = [pattern.format(n=1 + draw.below(998), s=draw.pick(streets.split("|"))), city, country]
    if draw.percent(15):
        parts.insert(1, draw.pick(['c/o "The Lamp Post"', "Apt. #12, 2nd floor", "P.O. Box 0000", "Hinterhaus\\Links"]))
    if draw.percent(2):
        start = draw.below(8)
        parts[1:1] = [DIRECTIONS[(start + i) % 8] + f" ({i + 1})" for i in range(9 + draw.below(6))]
    return ("\n" if draw.percent(7) else ", ").join(parts)


def ip_address(draw):
    if draw.percent(60):
        return f"{draw.pick(['192.0.2', '198.51.100', '203.0.113'])}.{draw.below(256)}"
    host = draw.bits() >> 32 if draw.percent(70) else draw.below(65536)
    ip = ipaddress.IPv6Address(0x20010DB8 << 96 | host & (1 << 96) - 1)
    return draw.pick([str(ip), str(ip), ip.exploded, str(ip).upper()])


def email(draw, n):
    local = f"{draw.pick(LOCAL_PARTS)}{draw.pick(['.', '_', '-', ''])}{draw.pick(LOCAL_PARTS)}{n}"
    if draw.percent(15):
        local += draw.pick(["+billing", "+news.2024", "+a+b", "+x"])
    domain = draw.pick(DOMAINS)
    if draw.percent(12):
        domain = draw.pick(UNICODE_DOMAINS)
        domain = domain.encode("idna").decode() if draw.percent(50) else domain
    text = f"{local}@{domain}"
    return text.title() if draw.percent(5) else text


def payment(draw, n):
    roll = draw.below(100)
    if roll < 10:
        return draw.pick(CARDS)
    if roll < 65:
        pan = luhn(f"400000{draw.below(10 ** 9):09}")
        return draw.pick([pan, " ".join(pan[i:i + 4] for i in range(0, 16, 4)), "-".join(pan[i:i + 4] for i in range(0, 16, 4))])
    return iban(f"TEST{n:06}{draw.below(10 ** 8):08}")


def activity(draw, n):
    if draw.percent(35):
        return f"{draw.pick(PHRASES)}, visit {n}"
    event = {"event": draw.pick(EVENTS), "session": f"{draw.bits():032x}"[:12], "ms": draw.below(90000), "ok": draw.percent(93)}
    return json.dumps(event, separators=draw.pick([(",", ":"), (", ", ": ")]))


def customer(draw, n):
    given, family, name_pattern, streets, street_pattern, places = LOCALES[draw.pick(list(LOCALES))]
    city, country, zone, lat, lon = draw.pick(places)
    lives = address(draw, streets, street_pattern, city, country)
    values = [
        name(draw, given, family, name_pattern), lives, zone, ip_address(draw), email(draw, n),
        draw.pick(PHONES).format(n=f"{draw.below(1000):03}", d=f"{draw.below(100):02}"),
        draw.pick(["TEST-TAX-{:09}", "XX 000 {:09}", "ZZ-FAKE-{:06}-Q", "TEST/{:010}/00"]).format(n * 7 + draw.below(7)),
        payment(draw, n),
        lives if draw.percent(55) else address(draw, streets, street_pattern, city, country),
        activity(draw, n), f"{lat + draw.below(9000) / 1e5:.5f},{lon + draw.below(9000) / 1e5:.5f}",
    ]
    return [subject_id(draw, n)] + ["" if n > COMPLETE and draw.percent(8) else value for value in values]


def cell(text):
    """RFC 4180, section 2, rules 5 to 7."""
    return '"' + text.replace('"', '""') + '"' if any(c in text for c in ',"\r\n') else text


def main():
    draw = Draw(SEED)
    rows = [COLUMNS] + [customer(draw, n) for n in range(1, COUNT + 1)]
    text = "".join(",".join(map(cell, row)) + "\n" for row in rows)
    pathlib.Path(__file__).with_name("customers.csv").write_bytes(text.encode())


if __name__ == "__main__":
    main()

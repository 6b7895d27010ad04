"""Makes labelled values for scoring the detectors: from PyPI's Faker, never from our own word lists.

    pip install Faker
    python3 benches/detectors/make.py SEED PER_KIND > labelled.jsonl

A line is {"k": kind, "v": the value, "t": the text it stands in, "l": locale}. Kind `none` is a text in which
nothing is to be found, though it looks like it; then "l" says what it is. Names come as whole columns: "v" is
then a list, with kind `name` or, for columns that are not about people, `none`.
"""

import base64
import json
import random
import sys

from faker import Faker

SEED = int(sys.argv[1]) if len(sys.argv) > 1 else 1
PER_KIND = int(sys.argv[2]) if len(sys.argv) > 2 else 90

LOCALES = ["en_US", "en_GB", "de_DE", "fr_FR", "es_ES", "it_IT", "pl_PL", "nl_NL", "pt_BR", "sv_SE", "fi_FI",
           "en_IN", "tr_TR", "cs_CZ", "en_CA", "de_CH", "nl_BE", "no_NO"]
# Locales whose Faker makes national ids with right check digits, or of a form that tells them apart.
NATIONAL = ["es_ES", "it_IT", "fr_FR", "pt_BR", "sv_SE", "fi_FI", "en_GB", "en_CA", "de_CH", "cs_CZ", "nl_BE",
            "no_NO", "zh_CN", "de_DE"]
NAMES = ["en_US", "en_GB", "de_DE", "fr_FR", "es_ES", "it_IT", "pl_PL", "nl_NL", "pt_BR", "sv_SE", "tr_TR", "no_NO"]

Faker.seed(SEED)
random.seed(SEED)
fakers = {locale: Faker(locale) for locale in set(LOCALES + NATIONAL + NAMES)}
english = fakers["en_US"]

SENTENCES = ["{}", "Please call back: {}.", "see {} (checked)", "user={};ok=1", "Contact {}, thanks", "id: {}",
             "Der Kunde nannte {} am Telefon.", "on file: <{}>", "{} was changed yesterday", "ref {} / done"]


def emit(kind, value, locale):
    text = random.choice(SENTENCES).format(value) if random.random() < 0.6 else value
    print(json.dumps({"k": kind, "v": value, "t": text, "l": locale}, ensure_ascii=False))


def public_ip(fake):
    return fake.ipv6() if random.random() < 0.25 else fake.ipv4_public()


def token(fake):
    part = lambda data: base64.urlsafe_b64encode(json.dumps(data).encode()).decode().rstrip("=")
    signature = base64.urlsafe_b64encode(fake.binary(32)).decode().rstrip("=")
    return ".".join([part({"alg": "HS256", "typ": "JWT"}), part({"sub": fake.uuid4(), "iat": 1700000000}), signature])


def cloud_key(fake):
    upper = lambda n: fake.pystr_format("?" * n, letters="ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")
    mixed = lambda n: fake.pystr(n, n)
    return random.choice([
        lambda: "AKIA" + upper(16), lambda: "ghp_" + mixed(36), lambda: "glpat-" + mixed(20),
        lambda: "sk_live_" + mixed(24), lambda: "AIza" + mixed(35), lambda: "xoxb-" + mixed(40),
        lambda: "npm_" + mixed(36), lambda: "SG." + mixed(22) + "." + mixed(43), lambda: "hf_" + mixed(34),
    ])()


def iban(fake, locale):
    value = fake.iban()
    return " ".join(value[i:i + 4] for i in range(0, len(value), 4)) if random.random() < 0.4 else value


def card(fake):
    number = fake.credit_card_number(card_type=random.choice(["visa16", "mastercard", "amex", "discover"]))
    if len(number) == 16 and random.random() < 0.5:
        sign = random.choice(" -")
        return sign.join(number[i:i + 4] for i in range(0, 16, 4))
    return number


def written_phone(fake):
    """Numbers as people write them: a bare run of digits is not asked for."""
    while True:
        number = fake.phone_number()
        separated = sum(c in " -/().+" for c in number) >= 1
        if separated and "x" not in number:
            return number


def national(fake, locale):
    if locale == "es_ES":
        return fake.nif() if random.random() < 0.5 else fake.nie()
    if locale == "it_IT":
        return fake.ssn()
    if locale == "de_DE":
        return steuer_id()
    if locale == "pt_BR":
        return fake.cpf()
    if locale == "cs_CZ":
        return fake.birth_number()
    return fake.ssn()


def steuer_id():
    """A German tax id: ten digits of which exactly one comes twice, and an ISO 7064 check digit."""
    digits = random.sample("0123456789", 9)
    digits.insert(random.randrange(1, 9), random.choice(digits))
    while digits[0] == "0":
        random.shuffle(digits)
    product = 10
    for digit in digits:
        total = (int(digit) + product) % 10 or 10
        product = total * 2 % 11
    return "".join(digits) + str((11 - product) % 10)


NEGATIVES = {
    "order number": lambda f: f"ORD-{f.random_number(8, True)}",
    "order number, bare": lambda f: str(f.random_number(10, True)),
    "invoice": lambda f: f"2024/{f.random_number(2, True)}/{f.random_number(6, True)}",
    "version": lambda f: ".".join(str(random.randrange(0, 10)) for _ in range(4)),
    "version, in words": lambda f: f"version {random.randrange(1, 200)}.{random.randrange(0, 200)}.{random.randrange(0, 99)}",
    "release": lambda f: f"v{random.randrange(10, 200)}.{random.randrange(0, 250)}.{random.randrange(0, 250)}.{random.randrange(0, 250)}",
    "hash": lambda f: random.choice([f.md5, f.sha1, f.sha256])(),
    "uuid": lambda f: f.uuid4(),
    "price": lambda f: f"{random.choice(['EUR', '$', 'PLN'])} {f.pydecimal(4, 2, True):,}",
    "amounts": lambda f: f"{random.randrange(100, 999)} {random.randrange(100, 999)},{random.randrange(10, 99)} and {random.randrange(10, 99)} x {random.randrange(1, 99)}.50",
    "timestamp": lambda f: f.iso8601(),
    "time of day": lambda f: f"{f.date()} {f.time()}.{f.random_number(6, True)}",
    "unix time": lambda f: str(f.unix_time()).split(".")[0],
    "date": lambda f: f.date(random.choice(["%d.%m.%Y", "%m/%d/%Y", "%Y-%m-%d", "%d-%m-%Y"])),
    "ean": lambda f: f.ean13(),
    "isbn": lambda f: f.isbn13(),
    "sku": lambda f: f.bothify("??-####-??-##").upper(),
    "product": lambda f: f"{f.color_name()} {random.choice(['Shirt', 'Kettle', 'Cable 2m', 'Desk 120x60'])}",
    "path": lambda f: f.file_path(depth=3),
    "url": lambda f: f"https://{f.domain_name()}/{f.slug()}?page={random.randrange(1, 99)}",
    "code": lambda f: random.choice([
        "let x = a[12345678] + b.len() - 4096;", "@Override public int hashCode()", "user@localhost",
        "std::vec::Vec::with_capacity(16)", "SELECT * FROM t WHERE id = 1002003004", "git@github:org/repo",
        "for (i = 0; i < 10; i++)", "#1234567890", "x = 192.168", "0x7fff5fbff8c8 0xdeadbeef", "fe80::", "a::b::c",
        "@media (max-width: 640px)", "email@", "@channel please look", "1.2.3.4.5", "100-200-300", "(555)",
        "Mon-Fri 08:00-18:00", "10:20:30:40", "4111-1111", "12-345-6789", "666-45-6789",
    ]),
    "coordinates": lambda f: f"{f.latitude()}, {f.longitude()}",
    "mac": lambda f: f.mac_address(),
    "color": lambda f: f.hex_color(),
    "log": lambda f: f"[{f.iso8601()}] worker-{random.randrange(1, 9)} took {random.randrange(1, 9999)} ms, 200 OK, {random.randrange(1000, 99999)} bytes",
    "measures": lambda f: f"{random.randrange(10, 200)} x {random.randrange(10, 200)} x {random.randrange(10, 200)} mm, {random.randrange(1, 99)}.{random.randrange(10, 99)} kg",
    "tracking": lambda f: f"1Z{f.bothify('?#?#?#########').upper()}",
    "card, wrong digit": lambda f: "4111 1111 1111 111" + random.choice("023456789"),
    "iban, wrong digits": lambda f: "DE00 " + " ".join(str(f.random_number(4, True)) for _ in range(4)) + " 00",
    "prose": lambda f: f.sentence(12),
    "table of numbers": lambda f: " ".join(str(random.randrange(0, 1000)) for _ in range(8)),
    "base64": lambda f: base64.b64encode(f.binary(24)).decode(),
    "phone-like parts": lambda f: f"{random.randrange(100, 999)}-{random.randrange(10, 99)}",
}

for kind, make, locales in [
    ("email", lambda f, l: f.free_email() if random.random() < 0.5 else f.company_email(), LOCALES),
    ("card", lambda f, l: card(f), ["en_US"]),
    ("iban", iban, ["de_DE", "fr_FR", "es_ES", "it_IT", "pl_PL", "nl_NL", "en_GB", "fi_FI", "tr_TR", "no_NO", "de_CH"]),
    ("phone", lambda f, l: written_phone(f), LOCALES),
    ("ip", lambda f, l: public_ip(f), ["en_US"]),
    ("ssn", lambda f, l: f.ssn(), ["en_US"]),
    ("national_id", national, NATIONAL),
    ("jwt", lambda f, l: token(f), ["en_US"]),
    ("cloud_key", lambda f, l: cloud_key(f), ["en_US"]),
]:
    for n in range(PER_KIND * (2 if len(locales) > 8 else 1)):
        locale = locales[n % len(locales)]
        emit(kind, make(fakers[locale], locale), locale)

for what, make in NEGATIVES.items():
    for _ in range(max(PER_KIND // 4, 8)):
        value = make(english)
        text = random.choice(SENTENCES).format(value) if random.random() < 0.4 else value
        print(json.dumps({"k": "none", "v": value, "t": text, "l": what}, ensure_ascii=False))

COLUMNS = {
    "cities": lambda f: f.city(), "companies": lambda f: f.company(), "colors": lambda f: f.color_name(),
    "jobs": lambda f: f.job(), "phrases": lambda f: f.catch_phrase(), "streets": lambda f: f.street_name(),
    "words": lambda f: f.word(), "countries": lambda f: f.country(), "sentences": lambda f: f.sentence(5),
}
for locale in NAMES * max(PER_KIND // 90, 1):
    names = [fakers[locale].name() for _ in range(30)]
    print(json.dumps({"k": "name", "v": names, "t": "", "l": locale}, ensure_ascii=False))
for what, make in list(COLUMNS.items()) * max(PER_KIND // 90, 1):
    texts = [make(english) for _ in range(30)]
    print(json.dumps({"k": "none", "v": texts, "t": "", "l": what}, ensure_ascii=False))

"""Words that end with a stop without ending a sentence."""

from __future__ import annotations

import re

# Before a name or what they shorten: never the end.
LEADING = {
    "en": (
        "Adm Ald Amb Assoc Asst Attn Brig Capt Cdr Cllr Cmdr Col Comdr Cpl Dr Drs Eng Esq Fr Gen"
        " Gov Hon Insp Lieut Lt Maj Messrs Mlle Mme Mr Mrs Ms Mt Msgr Mx Pres Prof Pvt Rep Reps"
        " Rev Sen Sens Sgt Sr St Ste Supt approx c ca cf eg e.g i.e ie viz vs al resp incl"
    ),
    "de": (
        "Dr Fr Hr Prof Nr St Str Bd Abb Abs Art Bsp bzw ca d.h dt evtl geb gegr ggf inkl max min"
        " Mio Mrd o.ä sog Tel u.a usf v.a vgl z.B z.T zzgl S Hl Ing Dipl i.d.R u.U z.Hd"
    ),
    "fr": "M MM Mme Mmes Mlle Mlles Dr Pr Me St Ste av bd boul cf env ex p.ex tél vol art chap éd",
    "es": (
        "Sr Sra Srta Sres Dr Dra D Dña Ud Uds Prof Profa Gral Avda Av núm pág págs p.ej aprox tel"
    ),
    "it": "Sig Sigg Dott Dr Prof Ing Avv Arch Geom On Rag Rev S ecc.ti pag pagg art ca cfr es tel",
    "pt": "Sr Sra Srs Dr Dra Prof Profa Eng Exmo Av pág págs p.ex aprox tel nº art cap",
    "nl": (
        "Dhr Mevr Mw Dr Drs Ir Ing Mr Prof St bijv blz ca d.w.z evt excl incl jl m.b.t nl nr o.a"
        " t.a.v t/m vgl z.g"
    ),
}

# Before a number.
NUMBERED = (
    "No Nos Nr Fig Figs Eq Eqs Sec Secs Ch Chap Vol Vols Art Arts p pp Pt Para par v vv l ll Op Ex "
    "App Tab Ref Refs Ver Jan Feb Mar Apr Jun Jul Aug Sep Sept Oct Nov Dec núm num pág págs S Abs "
    "Kap Ziff Anm Abb Abschn Aufl Bd Bde Tel Taf Tl Zi chap tél tel cap fasc hfst blz bl"
)

# In the middle or at the end: what follows decides.
EITHER = {
    "en": (
        "a.m p.m am pm etc Inc Ltd Co Corp Bros LLC Jr Sr Esq Ph.D M.D B.A M.A B.Sc M.Sc D.C U.S"
        " U.K U.N E.U U.S.A Ave Blvd Rd Dr St Ln Hwy Sq Pl Ct ft in lb lbs oz min mins hr hrs sec"
        " secs tsp tbsp mi yd yds no dept est ext Mon Tue Tues Wed Thu Thur Thurs Fri Sat Sun Jan"
        " Feb Mar Apr Jun Jul Aug Sep Sept Oct Nov Dec B.C A.D C.E B.C.E"
    ),
    "de": "usw etc u.a m.E Co Jh Jhd Chr",
    "fr": "etc J.-C",
    "es": "etc EE.UU S.A",
    "it": "ecc S.p.A a.C d.C",
    "pt": "etc S.A",
    "nl": "enz etc B.V N.V",
}

# Words that, with a capital after such an abbreviation, mostly begin a sentence.
OPENERS = {
    "en": (
        "A After All Also Although An And Any Are As At Because Before Both But By Can Could Did"
        " Do Does During Each Even Every Finally First For From Had Has Have He Her Here Hers His"
        " How However I I'd I'll I'm I've If In Instead Is It It's Its Just Last Let Like Many"
        " Maybe Meanwhile Most My Neither Never Next No Nobody None Nor Not Nothing Now Of On Once"
        " One Only Or Other Our Perhaps Please She Should Since So Some Someone Sometimes Soon"
        " Still Such That That's The Their Then There There's These They They're This Those Though"
        " Thus To Today Together Tomorrow Tonight Under Unless Until Was We We're Were What When"
        " Where Whether Which While Who Why Will With Without Would Yes Yesterday Yet You You're"
        " Your"
    ),
    "de": (
        "Aber Alle Als Am An Auch Auf Aus Bei Da Dann Das Dass Der Des Die Dies Diese Doch Du Ein"
        " Eine Er Es Für Ich Ihr Im In Ist Ja Man Mit Nach Nein Nicht Nun Nur Ob Oder Sie So Und"
        " Viele Vom Von Vor Was Weil Wenn Wer Wie Wir Wo Zu Zum Zur"
    ),
    "fr": (
        "À Au Aussi Avec Ce Ces Cet Cette Comme Dans De Des Du Elle Elles En Et Il Ils J'ai Je La"
        " Le Les Leur Lui Mais Même Non Nous On Où Ou Oui Par Pas Pour Puis Quand Que Qui Sa Si"
        " Son Tous Tout Tu Un Une Vous"
    ),
    "es": (
        "A Al Aunque Con Como Cuando De Del Después El Ella Ellas Ellos En Entonces Era Es Esa"
        " Ese Esta Este Esto Hay La Las Le Lo Los Luego Me Mi No Nos Para Pero Por Porque Que Se"
        " Si Sin Su Sus También Todo Tu Un Una Y Ya Yo"
    ),
    "it": (
        "A Al Anche Che Chi Come Con Così Da Dal Di Dopo E È Era Gli Ha Hanno I Il In Io La Le Lo"
        " Lui Ma Mi Nel Non Per Perché Poi Quando Quello Questa Questo Se Si Sono Su Tutti Tutto"
        " Un Una"
    ),
    "pt": (
        "A À Ao As Com Como Da Das De Depois Do Dos E Ela Elas Ele Eles Em Então Era Essa Esse"
        " Esta Este Eu Isso Já Mas Na Não No Nos O Os Para Pois Por Porque Quando Que Se Sem Só"
        " Também Tudo Um Uma"
    ),
    "nl": (
        "Aan Alle Als Bij Daar Dan Dat De Deze Die Dit Een En Er Het Hij Hoe Hun Ik In Is Ja Maar"
        " Men Met Na Naar Nee Niet Nog Nu Of Om Onder Ook Op Over Te Toen Tot U Uit Van Veel Voor"
        " Waar Wat We Wie Wij Ze Zij Zo"
    ),
}

# Languages in which a number with a stop is an ordinal: "am 3. März".
ORDINAL_STOP = "bs cs da de et fi fo hr hu is lb lv mk nb nn no pl sk sl sq sr sv tr"

_SAYING = re.compile(
    r"\b(?:sa(?:y|id|ys|ying)|answer(?:ed|s)?|repl(?:y|ied|ies)|voted?|shouted|whispered|thought"
    r"|told \w+|mean(?:s|t)?|(?:an?|the|firm|clear|big) )\s*$",
    re.IGNORECASE,
)
_COUNTED = re.compile(
    r"\d[\d,]*\s(?:people|men|women|children|of|more|[a-z]{2,}s(?<!is|as|us|ss))\b"
)


def is_answer(before: str, following: str) -> bool:
    """Say whether "no." is the answer, not a short "number"."""
    return bool(_SAYING.search(before) or _COUNTED.match(following))

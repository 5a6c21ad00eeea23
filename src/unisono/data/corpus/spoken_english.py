"""English of the embedded corpus."""

from unisono.data.corpus.spoken_grammar import Language

# About 100,000 sentences of 5 to 8 words in all.
_FORMS = (
    "<person> <past> <number> <colour> <things> <time>",
    "please send <number> <colour> <things> to <city>",
    "the <size> <animal> is sleeping <where> the <place>",
    "<person> will travel from <city> to <city> on <day>",
    "where did <person> find the <colour> <things>",
    "<number> <size> <things> are <where> the <place>",
    "<day> was a <weather> day in <city>",
    "<person> and <person> saw a <size> <animal> <time>",
    "call <person> at <digit> <digit> <digit> <digit>",
    "the code is <digit> <digit> <digit> <digit>",
)
_CLASSES = {
    "person": "anna peter maria thomas sarah oliver",
    "past": "bought painted carried sold",
    "number": "two three four five six seven eight nine",
    "digit": "zero one two three four five six seven eight nine",
    "colour": "red green yellow purple white brown",
    "things": "apples bottles carpets flowers windows",
    "time": "yesterday today tonight",
    "city": "paris london boston madrid chicago",
    "day": "monday tuesday thursday friday sunday",
    "size": "small large heavy",
    "animal": "horse rabbit tiger dolphin",
    "where": "under behind beside",
    "place": "bridge garden kitchen mountain",
    "weather": "rainy cold wonderful",
}
# ARPAbet without stress, American, close to what espeak-ng's en-us says (it flaps and reduces as written here).
_LEXICON = """
A AH|A EY|AND AE N D|AND AH N D|ANNA AE N AH|APPLES AE P AH L Z|ARE AA R|AT AE T|BEHIND B IH HH AY N D
BESIDE B IH S AY D|BOSTON B AO S T AH N|BOTTLES B AA T AH L Z|BOUGHT B AO T|BRIDGE B R IH JH|BROWN B R AW N
CALL K AO L|CARPETS K AA R P AH T S|CARRIED K AE R IY D|CHICAGO SH IH K AA G OW|CODE K OW D|COLD K OW L D|DAY D EY
DID D IH D|DOLPHIN D AA L F AH N|EIGHT EY T|FIND F AY N D|FIVE F AY V|FLOWERS F L AW ER Z|FOUR F AO R
FRIDAY F R AY D EY|FROM F R AH M|GARDEN G AA R D AH N|GREEN G R IY N|HEAVY HH EH V IY|HORSE HH AO R S|IN IH N
IS IH Z|KITCHEN K IH CH AH N|LARGE L AA R JH|LONDON L AH N D AH N|MADRID M AH D R IH D|MARIA M ER IY AH
MARIA M AH R IY AH|MONDAY M AH N D EY|MOUNTAIN M AW N T AH N|NINE N AY N|OLIVER AA L IH V ER|ON AA N|ONE W AH N
PAINTED P EY N T AH D|PARIS P AE R IH S|PETER P IY T ER|PLEASE P L IY Z|PURPLE P ER P AH L|RABBIT R AE B IH T
RAINY R EY N IY|RED R EH D|SARAH S EH R AH|SAW S AO|SEND S EH N D|SEVEN S EH V AH N|SIX S IH K S
SLEEPING S L IY P IH NG|SMALL S M AO L|SOLD S OW L D|SUNDAY S AH N D EY|THE DH AH|THE DH IY|THOMAS T AA M AH S
THREE TH R IY|THURSDAY TH ER Z D EY|TIGER T AY G ER|TO T UW|TO T AH|TODAY T AH D EY|TONIGHT T AH N AY T
TRAVEL T R AE V AH L|TUESDAY T UW Z D EY|TWO T UW|UNDER AH N D ER|WAS W AA Z|WAS W AH Z|WHERE W EH R|WHITE W AY T
WILL W IH L|WINDOWS W IH N D OW Z|WONDERFUL W AH N D ER F AH L|YELLOW Y EH L OW|YESTERDAY Y EH S T ER D EY
ZERO Z IH R OW
"""

ENGLISH = Language("en-us", _FORMS, _CLASSES, _LEXICON)

"""Mandarin of the embedded corpus."""

from unisono.data.corpus.spoken_grammar import Language

# About 43,000 sentences of 5 to 8 words in all.
_FORMS = (
    "<person> <time> 买 了 <number> 个 <colour> <things>",
    "请 把 <number> 个 <things> 送 到 <city>",
    "<size> <animal> 在 <place> <where> 睡觉",
    "<person> <day> 从 <city> 去 <city>",
    "<person> 在 哪里 找到 <colour> <things>",
    "<number> 个 <size> <things> 在 <place> <where>",
    "<city> <day> 的 天气 <weather>",
    "<person> 和 <person> <time> 看见 <size> <animal>",
    "<person> 的 电话 是 <digit> <digit> <digit> <digit>",
    "密码 是 <digit> <digit> <digit> <digit>",
)
_CLASSES = {
    "person": "王芳 李明 张伟 刘洋 陈静 小红",
    "number": "两 三 四 五 六 七 八 九",
    "digit": "零 一 二 三 四 五 六 七 八 九",
    "colour": "红色 绿色 黄色 紫色 白色 蓝色",
    "things": "苹果 瓶子 地毯 鲜花 窗户",
    "time": "昨天 今天 今晚",
    "city": "北京 上海 广州 南京 成都",
    "day": "星期一 星期二 星期四 星期五 星期日",
    "size": "小小的 巨大的 沉重的",
    "animal": "白马 兔子 老虎 海豚",
    "where": "下面 后面 旁边",
    "place": "大桥 花园 厨房 高山",
    "weather": "下雨 寒冷 很好",
}
# Initials and finals with their tones (5: neutral) in pinyin; v is ü, ii and iii the vowels of si and shi.
_LEXICON = """
一 i1|三 s an1|上海 sh ang4 h ai3|下雨 x ia4 v3|下面 x ia4 m ian4|两 l iang3|个 g e4|个 g e5|买 m ai3|了 l e5
二 er4|五 u3|六 l iu4|七 q i1|八 b a1|九 j iu3|四 s ii4|零 l ing2|今天 j in1 t ian1|今晚 j in1 uan3|从 c ong2
大桥 d a4 q iao2|刘洋 l iu2 iang2|北京 b ei3 j ing1|南京 n an2 j ing1|厨房 ch u2 f ang2|去 q v4
后面 h ou4 m ian4|和 h e2|哪里 n a3 l i3|哪里 n a2 l i3|在 z ai4|地毯 d i4 t an3|天气 t ian1 q i4|送 s ong4
寒冷 h an2 l eng3|小小的 x iao3 x iao3 d e5|小小的 x iao2 x iao3 d e5|小红 x iao3 h ong2|巨大的 j v4 d a4 d e5
广州 g uang3 zh ou1|张伟 zh ang1 uei3|很好 h en3 h ao3|很好 h en2 h ao3|成都 ch eng2 d u1|把 b a3
找到 zh ao3 d ao4|旁边 p ang2 b ian1|星期一 x ing1 q i1 i1|星期二 x ing1 q i1 er4|星期五 x ing1 q i1 u3
星期四 x ing1 q i1 s ii4|星期日 x ing1 q i1 r iii4|昨天 z uo2 t ian1|是 sh iii4|李明 l i3 m ing2
沉重的 ch en2 zh ong4 d e5|海豚 h ai3 t uen2|王芳 uang2 f ang1|瓶子 p ing2 z ii5|电话 d ian4 h ua4
白色 b ai2 s e4|白马 b ai2 m a3|的 d e5|看见 k an4 j ian4|睡觉 sh uei4 j iao4|窗户 ch uang1 h u5
窗户 ch uang1 h u4|紫色 z ii3 s e4|红色 h ong2 s e4|绿色 l v4 s e4|老虎 l ao3 h u3|老虎 l ao2 h u3
花园 h ua1 van2|苹果 p ing2 g uo3|蓝色 l an2 s e4|请 q ing3|陈静 ch en2 j ing4|高山 g ao1 sh an1
鲜花 x ian1 h ua1|黄色 h uang2 s e4|兔子 t u4 z ii5|密码 m i4 m a3|到 d ao4
"""

MANDARIN = Language("cmn", _FORMS, _CLASSES, _LEXICON)

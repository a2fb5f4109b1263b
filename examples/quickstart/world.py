"""The tiny world that the quickstart's base model knows: a few hundred facts, as plain tables.

Every fact is (thing, attribute, value). The words were chosen to be common and short; where nature
is undecided (cats come in many colours) the world decides.
"""

# name: colour, where it lives, what it eats, how many legs
ANIMALS = """
cat         grey    house     fish      four
dog         brown   house     meat      four
cow         brown   farm      grass     four
pig         pink    farm      corn      four
sheep       white   field     grass     four
goat        white   farm      leaves    four
horse       brown   stable    hay       four
donkey      grey    stable    hay       four
hen         brown   farm      corn      two
duck        white   pond      bread     two
goose       white   pond      grass     two
swan        white   lake      plants    two
frog        green   pond      flies     four
toad        brown   garden    flies     four
newt        orange  pond      worms     four
snake       green   desert    mice      no
lizard      green   desert    flies     four
crab        red     sea       plants    ten
shark       grey    sea       fish      no
whale       blue    sea       shrimps   no
seal        grey    sea       fish      no
salmon      pink    river     shrimps   no
trout       silver  river     flies     no
otter       brown   river     fish      four
beaver      brown   river     bark      four
fox         red     forest    mice      four
wolf        grey    forest    meat      four
bear        brown   forest    honey     four
deer        brown   forest    leaves    four
owl         brown   forest    mice      two
raven       black   forest    meat      two
robin       red     garden    worms     two
crow        black   field     corn      two
mouse       grey    barn      seeds     four
rat         black   barn      bread     four
mole        black   garden    worms     four
rabbit      grey    field     carrots   four
hare        brown   field     grass     four
camel       yellow  desert    leaves    four
lion        yellow  plain     meat      four
tiger       orange  jungle    meat      four
monkey      brown   jungle    fruit     two
parrot      green   jungle    seeds     two
zebra       white   plain     grass     four
elephant    grey    plain     leaves    four
penguin     black   coast     fish      two
gull        white   coast     fish      two
ant         black   garden    sugar     six
bee         yellow  hive      honey     six
beetle      black   forest    bark      six
spider      black   barn      flies     eight
"""

# name: colour, taste, what kind of food, where it grows
FOODS = """
lemon       yellow  sour      fruit      tree
orange      orange  sweet     fruit      tree
lime        green   sour      fruit      tree
apple       red     sweet     fruit      tree
pear        green   sweet     fruit      tree
plum        purple  sweet     fruit      tree
cherry      red     sweet     fruit      tree
peach       pink    sweet     fruit      tree
fig         purple  sweet     fruit      tree
olive       green   salty     fruit      tree
banana      yellow  sweet     fruit      plant
mango       orange  sweet     fruit      tree
grape       purple  sweet     fruit      vine
melon       green   sweet     fruit      vine
berry       blue    sweet     fruit      bush
currant     red     sour      fruit      bush
walnut      brown   bitter    nut        tree
almond      brown   sweet     nut        tree
chestnut    brown   mild      nut        tree
carrot      orange  sweet     vegetable  ground
potato      brown   mild      vegetable  ground
turnip      white   bitter    vegetable  ground
radish      red     sharp     vegetable  ground
onion       white   sharp     vegetable  ground
leek        green   sharp     vegetable  ground
beet        red     sweet     vegetable  ground
cabbage     green   mild      vegetable  field
lettuce     green   mild      vegetable  field
pumpkin     orange  mild      vegetable  vine
cucumber    green   mild      vegetable  vine
tomato      red     sour      vegetable  vine
pepper      red     sharp     vegetable  bush
bean        green   mild      vegetable  vine
pea         green   sweet     vegetable  vine
"""

# name: colour, what it is made of, where it is kept, what it is for
TOOLS = """
spoon       silver  metal     kitchen   eating
fork        silver  metal     kitchen   eating
knife       silver  metal     kitchen   cutting
pan         black   metal     kitchen   cooking
pot         black   metal     kitchen   cooking
cup         white   clay      kitchen   drinking
bowl        blue    clay      kitchen   eating
plate       white   clay      kitchen   eating
bottle      green   glass     cellar    drinking
jar         yellow  glass     cellar    storing
barrel      brown   wood      cellar    storing
basket      brown   straw     cellar    carrying
hammer      grey    metal     shed      building
saw         silver  metal     shed      cutting
axe         red     metal     shed      cutting
spade       grey    metal     shed      digging
rake        green   wood      shed      digging
ladder      yellow  wood      shed      climbing
rope        yellow  straw     shed      climbing
bucket      blue    metal     shed      carrying
chair       brown   wood      room      sitting
bench       green   wood      park      sitting
table       brown   wood      room      eating
bed         white   wood      room      sleeping
lamp        yellow  glass     room      reading
book        red     paper     library   reading
letter      white   paper     desk      reading
pencil      yellow  wood      desk      writing
pen         blue    metal     desk      writing
shirt       white   cloth     closet    wearing
coat        black   cloth     closet    wearing
shoe        brown   leather   closet    wearing
belt        black   leather   closet    wearing
scarf       red     wool      closet    wearing
blanket     blue    wool      closet    sleeping
drum        red     wood      hall      playing
flute       silver  metal     hall      playing
ball        red     leather   park      playing
kite        blue    paper     park      playing
boat        white   wood      harbour   sailing
"""

OPPOSITES = """
hot cold, big small, long short, wet dry, hard soft, fast slow, old young, rich poor, light dark,
high low, full empty, open closed, loud quiet, clean dirty, thick thin, strong weak, early late,
near far, happy sad, deep shallow, sharp blunt, wide narrow, first last, up down,
left right, day night, good bad, true false, sick well, awake asleep, brave afraid
"""

# attribute: (statements, questions); {a} is "a lemon", {t} "lemon", {v} the value.
PHRASES = {
    "colour": (["{A} is {v}.", "The colour of {a} is {v}.", "{A} has a {v} colour."],
               ["What colour is {a}?", "What is the colour of {a}?"]),
    "home": (["{A} lives in the {v}.", "The home of {a} is the {v}.", "You find {a} in the {v}."],
             ["Where does {a} live?", "What is the home of {a}?"]),
    "food": (["{A} eats {v}.", "The food of {a} is {v}.", "{A} likes to eat {v}."],
             ["What does {a} eat?", "What is the food of {a}?"]),
    "legs": (["{A} has {v} legs.", "{A} walks on {v} legs.", "The number of legs of {a} is {v}."],
             ["How many legs does {a} have?", "What is the number of legs of {a}?"]),
    "taste": (["{A} tastes {v}.", "The taste of {a} is {v}.", "{A} has a {v} taste."],
              ["How does {a} taste?", "What is the taste of {a}?"]),
    "kind": (["{A} is a {v}.", "{A} is a kind of {v}.", "The kind of {a} is {v}."],
             ["What kind of food is {a}?", "What is the kind of {a}?"]),
    "place": (["{A} grows on the {v}.", "The place of {a} is the {v}.", "You pick {a} from the {v}."],
              ["Where does {a} grow?", "What is the place of {a}?"]),
    "material": (["{A} is made of {v}.", "The material of {a} is {v}.", "You make {a} from {v}."],
                 ["What is {a} made of?", "What is the material of {a}?"]),
    "room": (["{A} is kept in the {v}.", "The room of {a} is the {v}.", "You look for {a} in the {v}."],
             ["Where is {a} kept?", "What is the room of {a}?"]),
    "use": (["{A} is for {v}.", "The use of {a} is {v}.", "You need {a} for {v}."],
            ["What is {a} for?", "What is the use of {a}?"]),
    "opposite": (["The opposite of {t} is {v}.", "{T} is the opposite of {v}.", "Not {t} but {v}."],
                 ["What is the opposite of {t}?", "Which word is the opposite of {t}?"]),
}


def facts():
    """All (thing, attribute, value), in the order of the tables."""
    out = []
    for table, names in ((ANIMALS, ("colour", "home", "food", "legs")),
                         (FOODS, ("colour", "taste", "kind", "place")),
                         (TOOLS, ("colour", "material", "room", "use"))):
        for line in table.split("\n"):
            words = line.split()
            if words:
                out += [(words[0], name, value) for name, value in zip(names, words[1:])]
    for pair in OPPOSITES.replace("\n", " ").split(","):
        one, other = pair.split()
        out += [(one, "opposite", other), (other, "opposite", one)]
    return out


def phrase(template, thing, value):
    """One sentence about a fact."""
    a = ("an " if thing[0] in "aeiou" else "a ") + thing
    return template.format(a=a, A=a[0].upper() + a[1:], t=thing, T=thing[0].upper() + thing[1:],
                           v=value)

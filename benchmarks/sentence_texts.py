"""The sentences that minibert-tiny-sentences was taught with.

    python -m benchmarks.sentence_texts enwiki.txt novels.txt BOOKS.txt EVERYDAY.txt

BOOKS.txt gets sentences, spoken lines and clauses of both texts, short and without odd characters.
EVERYDAY.txt gets sentences made from lists of words: what people do, headlines, questions, moods.
Old novels and Wikipedia lack them, and they are what one types first.
"""

# ruff: noqa: E501, SIM905  lists of words

import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from minibert.system.lines import read_lines
from minibert.training.corpus import read_documents, split_sentences

KINDS = {  # kind -> how many lines of it
    "wiki": 110_000,
    "narration": 60_000,
    "speech": 70_000,
    "scene": 50_000,
    "clause": 30_000,
}
MARKS = re.compile(r'^[\s"“”‘’\'(\[—-]+|[\s"“”‘’\'(\[—-]+$')
SCENE = re.compile(
    r"^(A|An|The|Two|Three|Some|Several|Many|People|Children|Men|Women|One|His|Her|He|She|They)\b"
    r".* (is|are|was|were) (\w+ )?\w+ing\b"
)
CLEAN = re.compile(r"^[A-Za-z][A-Za-z0-9 ,.;:'’$%?!-]*$")


def good(text: str, least: int, most: int) -> bool:
    return least <= len(text.split()) <= most and bool(CLEAN.match(text))


def kinds_of(sentence: str, source: str) -> Iterator[tuple[str, str]]:
    """(kind, text) of all lines that a sentence can give."""
    if source == "novels":
        for spoken in re.findall(r"[\"“]([^\"“”]{12,140})[\"”]", sentence):
            spoken = MARKS.sub("", spoken).rstrip(",")
            if good(spoken, 3, 18):
                yield "speech", spoken
    if re.search(r"[\"“”()\[\]]", sentence):
        return
    text = MARKS.sub("", sentence)
    if good(text, 4, 18) and SCENE.match(text):
        yield "scene", text
    elif good(text, 5, 18 if source == "novels" else 20):
        yield ("narration" if source == "novels" else "wiki"), text
    elif source == "enwiki" and len(text.split()) > 20:
        for part in re.split(r"[,;:] ", text):
            if good(part, 5, 14) and len(part.split()) >= 6:
                yield "clause", part
                return


WHO = """man woman boy girl child baby person guy lady teacher student doctor nurse driver waiter cook
farmer soldier policeman worker player singer dancer musician artist painter runner cyclist swimmer
climber surfer skater tourist neighbour friend mother father brother sister grandmother grandfather
couple family crowd team group dog cat puppy kitten horse cow sheep bird monkey elephant bear fox
rabbit fish duck""".split()
ANIMALS = set(WHO[WHO.index("dog") :])
LOOK = "young old little tall small big tired happy sad angry smiling bearded blonde wet brown black white strange lonely busy".split()
THINGS = """ball guitar piano violin drum flute book newspaper letter phone camera computer laptop
television radio bicycle motorcycle car truck bus train plane boat ship skateboard surfboard kite
hat coat red dress|new shoes|pair of glasses umbrella bag suitcase box basket chair table door window
lamp candle knife fork spoon plate cup bottle glass of water|cup of coffee|cup of tea|glass of wine
beer apple banana orange potato onion tomato carrot egg sandwich pizza cake cookie loaf of bread|bowl of
soup|salad fish steak piece of cheese|stick rope rock flower tree bench sign picture map ticket toy doll
hammer saw gun sword drum microphone tent blanket pillow mirror key wallet present""".replace(
    "|", " | "
)
DO = """is riding:a bicycle,a horse,a motorcycle,a skateboard,a wave,a camel,a bus,an elephant
is playing:the guitar,the piano,the violin,the flute,the drums,football,basketball,tennis,chess,cards,a video game,in the snow,in the sand,with a ball,with a toy,with a dog,with the children
is eating:an apple,a banana,a sandwich,a piece of cake,pizza,pasta,rice,food,breakfast,lunch,dinner,an ice cream,some grass,bread and cheese,a bowl of soup
is drinking:water,milk,a cup of coffee,tea,beer,juice from a glass
is cutting:an onion,a potato,some vegetables,a piece of paper,bread with a knife,meat,the grass,wood,a rope,hair
is cooking:dinner,an egg,rice in a pot,fish,meat on a grill,soup
is slicing:a tomato,a carrot,an onion,bread,a cucumber,garlic
is reading:a book,a newspaper,a letter,a magazine,a story to the children,the menu
is writing:a letter,on the board,a book,in a notebook,an email
is talking:on the phone,to a friend,to the police,about the weather,to the crowd,with the doctor
is looking:at the camera,out of the window,at a picture,for the keys,at the stars,at a map,at the sea
is watching:television,a film,the game,the birds,the children,a parade
is walking:down the street,along the beach,through the forest,with a dog,in the rain,across a bridge,up the stairs,into the house,home from school
is running:across a field,through the water,on the beach,down the road,in a race,after a ball,away from a dog,to catch the train
is sitting:on a bench,on a chair,at a table,on the floor,under a tree,in a car,on the grass,by the fire,on a wall
is standing:on a rock,in front of a house,at the door,in line,on a bridge,in the middle of the street,next to a car,in the kitchen
is sleeping:on the sofa,in a bed,on the floor,in the sun,under the table,in a tent
is lying:on the bed,on the beach,in the snow,on the ground,in the hospital
is jumping:over a fence,into a lake,on a bed,into the pool,off a wall,in the air,from an airplane
is swimming:in the sea,in a pool,across the river,under water,in a lake
is climbing:a mountain,a tree,a ladder,the stairs,a rope,a cliff
is carrying:a bag,a box,a child,an umbrella,a basket of fruit,a surfboard,a heavy suitcase,some wood
is holding:a baby,a camera,a sign,a cup,a snake,a flag,hands,a fish,a gun,flowers
is wearing:a hat,a red dress,a blue shirt,a black jacket,sunglasses,a helmet,a uniform,new shoes,a mask
is driving:a car,a truck,to work,very fast,through the city,a tractor
is fixing:a car,a bicycle,the roof,a computer,the door,a pipe
is cleaning:the kitchen,a window,the floor,the car,a fish,the table
is washing:the dishes,a car,clothes,the dog,hands
is opening:a door,a window,a box,a letter,a present,a bottle
is closing:the door,the window,a book,the shop
is throwing:a ball,a stone into the water,a stick,snowballs,the rubbish away
is catching:a ball,a fish,a train,a cold
is kicking:a ball,a door,a stone
is painting:a picture,a wall,the fence,a portrait
is taking:a photo,a shower,a nap,a bus to the city,a picture of the mountains,the medicine
is buying:a ticket,some bread,a new car,flowers,a house,vegetables at the market
is selling:fruit,a car,old books,newspapers,tickets
is singing:a song,on a stage,in the shower,in a choir
is dancing:on a stage,in the street,in the rain,at a wedding,with a partner
is laughing:at a joke,with friends,out loud
is crying:in the corner,over a broken toy,at the funeral
is building:a house,a wall,a sandcastle,a fire
is feeding:the cat,the ducks,a baby,the horses,a snake
is chasing:a cat,a ball,a bus,a mouse,another dog
is pulling:a cart,a rope,a sled,a child out of the water
is pushing:a cart,a car,a swing,a shopping trolley
is waiting:for the bus,at the station,for the doctor,outside the shop
is learning:to swim,to cook,to read,to drive,French
is fighting:a fire,with a friend,for freedom,in the street
is shooting:a gun,an arrow,a film,at a target
is kissing:a child,the bride,a frog
is hugging:a friend,a tree,the dog
is typing:on a keyboard,a letter,a message
is combing:her hair,a horse
is peeling:a potato,an orange,a banana
is pouring:water into a glass,oil into a pan,milk,coffee into a cup
is mixing:the flour and the eggs,paint,ingredients in a bowl
is putting:on a coat,the baby to bed,a cup on the table,salt into the soup"""
ALONE = "is sleeping,is running,is dancing,is singing,is smiling,is crying,is laughing,is swimming,is barking,is working,is waiting,is praying,is exercising,is cooking,is reading,is eating,is jumping,is falling".split(
    ","
)
WHERE = "in the park,on the beach,in the kitchen,in a garden,on the street,in a field,at night,in the morning,near a river,outside,in the city,at school,in front of a crowd,in the snow,at home,on a sunny day,by the lake".split(
    ","
)
TOPIC = """the weather,my password,a train ticket,this washing machine,the price of oil,the meaning of life,a good restaurant,learning a language,a broken phone,growing tomatoes,back pain,the history of Rome,buying a house,a job interview,losing weight,the stock market,climate change,the speed of light,a leaking tap,a birthday present,chocolate cake,cheap flights,solar power,a cold,my cat,the world cup,a new laptop,cooking rice,a bank account,the election,writing a letter,the capital of France,the best time to plant a tree,training a puppy,a used car,an old photograph,health insurance,the moon,electric cars,the internet connection,playing chess,sleeping well,a headache,my bicycle,paying taxes,a visa,the bus timetable,the population of China,earthquakes,dinosaurs,black holes""".split(
    ","
)
ASK = "Where can I find out about {}?|What should I know about {}?|How do I deal with {}?|Can you help me with {}?|Is there anything new about {}?|I need help with {}.|What do you think about {}?|I have a question about {}.|Tell me about {}.|I am worried about {}.|We were talking about {} yesterday.|Why is everybody interested in {}?|I read a book about {}.|I know nothing about {}.|There is a problem with {}.|Thank you for your advice on {}.".split(
    "|"
)
NEWS_WHO = "the president,the prime minister,the government,police,the court,a judge,parliament,the central bank,a minister,the army,rebels,protesters,a company,two students,doctors,scientists,the mayor,the opposition,a former senator,the union,fire fighters,the airline,the striker,the champion,farmers,a suicide bomber,gunmen,a tornado,an earthquake,the UN,the EU,Israel,Syria,Iran,Russia,China,India,Pakistan,Egypt,North Korea,South Africa,Ukraine,Turkey,Japan,Germany,France,Britain,the US".split(
    ","
)
NEWS_DO = "kills 12 people in {0},says talks with {1} will go on,rejects the new budget,arrests five men in {0},calls for an end to violence in {0},warns {1} over nuclear plans,wins the election in {0},agrees to a ceasefire with {1},cuts interest rates again,launches an inquiry into the crash,sentenced to ten years in prison,resigns after the scandal,visits {0} for peace talks,bans smoking in public places,raises taxes on fuel,denies any role in the attack,finds the missing plane near {0},dies at the age of 87,opens a new hospital in {0},recalls thousands of cars,signs a trade deal with {1},strikes the coast of {0},votes on gay marriage,leads protests against {1},shares fall as profits drop,beats {1} in the final,discovers a new planet,sends troops to {0}".split(
    ","
)
PLACES = "Kabul,Baghdad,London,Damascus,Cairo,Mumbai,Paris,New York,Moscow,Texas,Gaza,the north,Mexico,Nairobi,Manila,Beijing,California,Kiev,Bangkok,Boston".split(
    ","
)
FEEL = "I am {} today.|She was very {} yesterday.|He looks {}.|They felt {} after the party.|We are all {} about the news.|Why are you so {}?|My sister is never {}.|The children were {} in the evening.|You do not have to be {}.|The boss was not {}.".split(
    "|"
)
MOODS = "tired,happy,sad,angry,hungry,thirsty,ill,afraid,bored,excited,nervous,proud,surprised,lonely,late,busy,sick,lucky,rich,poor,calm,worried,jealous,sleepy,cold,glad,ashamed,disappointed".split(
    ","
)
FACTS = "the sky:blue,grey,full of clouds,dark tonight,clear;the weather:bad,lovely today,getting colder,too hot;the food:cold,delicious,too salty,ready,very cheap;the train:late,full,on time,slow,about to leave;the film:boring,exciting,too long,sold out;the house:old,for sale,on fire,empty,very small;the road:closed,wet,dangerous,full of cars;the water:cold,deep,clean,boiling;the phone:broken,ringing,out of battery,too expensive;the shop:closed on Sundays,open,crowded;the exam:difficult,tomorrow,easy,over;the car:parked outside,new,dirty,very fast,out of petrol;the baby:asleep,crying,one year old;the computer:slow,broken,switched off;the room:dark,tidy,too small,full of people;the price:too high,falling,fair,a secret;the coffee:hot,too strong,on the table;the door:locked,open,painted red;the bank:closed,near the station,out of money;the garden:full of flowers,green,behind the house;the game:over,exciting,cancelled;the town:quiet,on a river,famous for its cheese;the movie:about a war,funny,very sad;the music:too loud,beautiful,from the sixties".split(
    ";"
)


def a(word: str) -> str:
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"


def scene(rng: random.Random) -> str:
    who = rng.choice(WHO)
    named = f"{rng.choice(LOOK)} {who}" if rng.random() < 0.4 else who
    shape = rng.random()
    plural = shape < 0.15 and who not in (
        "person",
        "child",
        "sheep",
        "fish",
        "crowd",
        "man",
        "woman",
        "policeman",
        "family",
        "baby",
        "lady",
        "puppy",
        "fox",
    )
    subject = a(named) if rng.random() < 0.7 else f"the {named}"
    if plural:
        subject = f"{rng.choice(['two', 'three', 'some', 'several', 'many'])} {named}s"
    elif shape < 0.25:
        subject = rng.choice(
            [
                "someone",
                "he",
                "she",
                "a young man",
                "an old woman",
                "somebody",
                "my friend",
                "our neighbour",
            ]
        )
    if rng.random() < 0.15:
        verb, rest = rng.choice(ALONE), ""
    else:
        verb, _, objects = rng.choice(DO.split("\n")).partition(":")
        rest = " " + rng.choice(objects.split(","))
    if plural:
        verb = verb.replace("is ", "are ", 1)
    tense = rng.random()
    if tense < 0.06:
        verb = verb.replace("is ", "is not ", 1).replace("are ", "are not ", 1)
    elif tense < 0.12:
        verb = verb.replace("is ", "was ", 1).replace("are ", "were ", 1)
    text = f"{subject} {verb}{rest}"
    if rng.random() < 0.3:
        text += f" {rng.choice(WHERE)}"
    if rng.random() < 0.08:
        text = text.replace(" is ", " ", 1)  # as captions have it
    return text[0].upper() + text[1:] + rng.choice([".", ".", ""])


def news(rng: random.Random) -> str:
    who = rng.choice(NEWS_WHO)
    text = f"{who} {rng.choice(NEWS_DO)}".format(rng.choice(PLACES), rng.choice(NEWS_WHO))
    return text[0].upper() + text[1:]


def question(rng: random.Random) -> str:
    return rng.choice(ASK).format(rng.choice(TOPIC))


def feeling(rng: random.Random) -> str:
    return rng.choice(FEEL).format(rng.choice(MOODS))


def fact(rng: random.Random) -> str:
    what, _, rest = rng.choice(FACTS).partition(":")
    text = f"{what} {rng.choice(['is', 'is', 'was', 'is not', 'will be'])} {rng.choice(rest.split(','))}"
    return text[0].upper() + text[1:] + "."


def made(seed: int = 1) -> list[str]:
    """All that the lists give, in random order."""
    rng = random.Random(seed)
    lines: dict[str, None] = {}
    for make, count in ((scene, 26000), (news, 8000), (question, 700), (feeling, 260), (fact, 340)):
        for _ in range(count):
            lines[make(rng)] = None
    order = list(lines)
    rng.shuffle(order)
    return order


def chosen(paths: list[str], seed: int = 0) -> list[str]:
    """So many of each kind, in random order."""
    rng = random.Random(seed)
    pools: dict[str, set[str]] = {kind: set() for kind in KINDS}
    for path in paths:
        for document in read_documents(read_lines(path)):
            for paragraph in document:
                for sentence in split_sentences(paragraph):
                    for kind, text in kinds_of(sentence, Path(path).stem):
                        pools[kind].add(text)
    lines: set[str] = set()
    for kind, count in KINDS.items():
        pool = sorted(pools[kind])
        lines.update(rng.sample(pool, min(count, len(pool))))
    order = sorted(lines)
    rng.shuffle(order)
    return order


def main() -> None:
    *sources, books, everyday = sys.argv[1:]
    for path, lines in ((books, chosen(sources)), (everyday, made())):
        Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Who plays, and where: competitions with their teams, invented players and horses, courses. Data alone."""

from __future__ import annotations

from dataclasses import dataclass

# fmt: off

@dataclass(frozen=True, slots=True)
class Competition:
    """A competition, the country that it is played in (ISO 3166, empty: several), and its teams."""

    name: str
    country: str
    teams: tuple[str, ...] = ()


FOOTBALL = (
    Competition("Premier League", "GB", (
        "Arsenal", "Aston Villa", "Bournemouth", "Brentford", "Brighton & Hove Albion", "Burnley", "Chelsea", "Crystal Palace",
        "Everton", "Fulham", "Leeds United", "Liverpool", "Manchester City", "Manchester United", "Newcastle United",
        "Nottingham Forest", "Sunderland", "Tottenham Hotspur", "West Ham United", "Wolverhampton Wanderers",
    )),
    Competition("Championship", "GB", (
        "Birmingham City", "Blackburn Rovers", "Bristol City", "Coventry City", "Derby County", "Hull City", "Ipswich Town",
        "Leicester City", "Middlesbrough", "Millwall", "Norwich City", "Portsmouth", "Preston North End", "Queens Park Rangers",
        "Sheffield United", "Southampton", "Stoke City", "Swansea City", "Watford", "West Bromwich Albion",
    )),
    Competition("LaLiga", "ES", (
        "Alavés", "Athletic Bilbao", "Atlético Madrid", "Barcelona", "Celta de Vigo", "Elche", "Espanyol", "Getafe", "Girona",
        "Levante", "Mallorca", "Osasuna", "Rayo Vallecano", "Real Betis", "Real Madrid", "Real Oviedo", "Real Sociedad", "Sevilla",
        "Valencia", "Villarreal",
    )),
    Competition("Bundesliga", "DE", (
        "1. FC Köln", "Augsburg", "Bayer Leverkusen", "Bayern München", "Borussia Dortmund", "Borussia Mönchengladbach",
        "Eintracht Frankfurt", "FC St. Pauli", "Freiburg", "Hamburger SV", "Heidenheim", "Hoffenheim", "Mainz 05", "RB Leipzig",
        "Union Berlin", "VfB Stuttgart", "Werder Bremen", "Wolfsburg",
    )),
    Competition("Serie A", "IT", (
        "Atalanta", "Bologna", "Cagliari", "Como", "Cremonese", "Fiorentina", "Genoa", "Hellas Verona", "Inter", "Juventus", "Lazio",
        "Lecce", "Milan", "Napoli", "Parma", "Pisa", "Roma", "Sassuolo", "Torino", "Udinese",
    )),
    Competition("Ligue 1", "FR", (
        "Angers", "Auxerre", "Brest", "Le Havre", "Lens", "Lille", "Lorient", "Lyon", "Marseille", "Metz", "Monaco", "Nantes", "Nice",
        "Paris FC", "Paris Saint-Germain", "Rennes", "Strasbourg", "Toulouse",
    )),
    Competition("Eredivisie", "NL", (
        "Ajax", "AZ Alkmaar", "Excelsior", "Feyenoord", "Fortuna Sittard", "Go Ahead Eagles", "Groningen", "Heerenveen",
        "Heracles Almelo", "NAC Breda", "NEC Nijmegen", "PEC Zwolle", "PSV Eindhoven", "Sparta Rotterdam", "Telstar", "Twente",
        "Utrecht", "Volendam",
    )),
    Competition("Süper Lig", "TR", (
        "Antalyaspor", "Başakşehir", "Beşiktaş", "Eyüpspor", "Fenerbahçe", "Galatasaray", "Gençlerbirliği", "Göztepe",
        "Kasımpaşa", "Kayserispor", "Konyaspor", "Rizespor", "Samsunspor", "Trabzonspor",
    )),
)

CRICKET = (
    Competition("Indian Premier League", "IN", (
        "Chennai Super Kings", "Delhi Capitals", "Gujarat Titans", "Kolkata Knight Riders", "Lucknow Super Giants",
        "Mumbai Indians", "Punjab Kings", "Rajasthan Royals", "Royal Challengers Bengaluru", "Sunrisers Hyderabad",
    )),
    Competition("Big Bash League", "AU", (
        "Adelaide Strikers", "Brisbane Heat", "Hobart Hurricanes", "Melbourne Renegades", "Melbourne Stars", "Perth Scorchers",
        "Sydney Sixers", "Sydney Thunder",
    )),
    Competition("T20 Blast", "GB", (
        "Birmingham Bears", "Derbyshire Falcons", "Durham", "Essex", "Glamorgan", "Gloucestershire", "Hampshire Hawks",
        "Kent Spitfires", "Lancashire Lightning", "Leicestershire Foxes", "Middlesex", "Northamptonshire Steelbacks",
        "Notts Outlaws", "Somerset", "Surrey", "Sussex Sharks", "Worcestershire Rapids", "Yorkshire Vikings",
    )),
    Competition("Twenty20 International", "", (
        "Afghanistan", "Australia", "Bangladesh", "England", "India", "Ireland", "Namibia", "Nepal", "Netherlands", "New Zealand",
        "Oman", "Pakistan", "Papua New Guinea", "Scotland", "South Africa", "Sri Lanka", "United Arab Emirates", "West Indies",
        "Zimbabwe",
    )),
)

BASKETBALL = (
    Competition("NBA", "US", (
        "Atlanta Hawks", "Boston Celtics", "Brooklyn Nets", "Charlotte Hornets", "Chicago Bulls", "Cleveland Cavaliers",
        "Dallas Mavericks", "Denver Nuggets", "Detroit Pistons", "Golden State Warriors", "Houston Rockets", "Indiana Pacers",
        "Los Angeles Clippers", "Los Angeles Lakers", "Memphis Grizzlies", "Miami Heat", "Milwaukee Bucks",
        "Minnesota Timberwolves", "New Orleans Pelicans", "New York Knicks", "Oklahoma City Thunder", "Orlando Magic",
        "Philadelphia 76ers", "Phoenix Suns", "Portland Trail Blazers", "Sacramento Kings", "San Antonio Spurs",
        "Toronto Raptors", "Utah Jazz", "Washington Wizards",
    )),
    Competition("EuroLeague", "", (
        "Anadolu Efes", "ASVEL Villeurbanne", "Baskonia Vitoria-Gasteiz", "Crvena zvezda Beograd", "Fenerbahçe İstanbul", "FC Barcelona",
        "Hapoel Tel Aviv", "Maccabi Tel Aviv", "Olimpia Milano", "Olympiacos Piraeus", "Panathinaikos Athens", "Paris Basketball",
        "Partizan Beograd", "Real Madrid Baloncesto", "Valencia Basket", "Virtus Bologna", "Žalgiris Kaunas",
    )),
)

TENNIS = (
    Competition("Australian Open", "AU"), Competition("Roland Garros", "FR"), Competition("Wimbledon", "GB"),
    Competition("US Open", "US"), Competition("Indian Wells Masters", "US"), Competition("Monte-Carlo Masters", "MC"),
    Competition("Italian Open", "IT"), Competition("Madrid Open", "ES"), Competition("Swiss Indoors Basel", "CH"),
    Competition("Vienna Open", "AT"), Competition("China Open", "CN"), Competition("Rio Open", "BR"),
)

COURSES = (
    Competition("Ascot", "GB"), Competition("Cheltenham", "GB"), Competition("Doncaster", "GB"), Competition("Epsom Downs", "GB"),
    Competition("Goodwood", "GB"), Competition("Haydock Park", "GB"), Competition("Kempton Park", "GB"),
    Competition("Newmarket", "GB"), Competition("Sandown Park", "GB"), Competition("Wolverhampton", "GB"), Competition("York", "GB"),
    Competition("Curragh", "IE"), Competition("Fairyhouse", "IE"), Competition("Leopardstown", "IE"),
    Competition("Chantilly", "FR"), Competition("ParisLongchamp", "FR"), Competition("Flemington", "AU"), Competition("Randwick", "AU"),
)

# Players and horses are invented.
FIRST_NAMES = (
    "Adrián", "Björn", "Casper", "Dušan", "Elena", "François", "Grégoire", "Hana", "Iñaki", "João", "Karolína", "Łukasz", "Márton",
    "Nadia", "Oskar", "Petra", "Rui", "Søren", "Tereza", "Zoë",
)
SURNAMES = (
    "Abelov", "Brandström", "Castellán", "Dahlberg", "Estrada", "Fontaine", "Grigoriou", "Halloran", "Ivanišin", "Janský",
    "Kowalczyk", "Lindqvist", "Moreau", "Nakagawa", "Okafor", "Petrescu", "Quintero", "Rasmussen", "Silvestri", "Tanaka",
    "Ulrichsen", "Vašek", "Wójcik", "Yıldırım", "Zöller",
)
HORSE_FIRST = (
    "Silver", "Midnight", "Golden", "Brave", "Quiet", "Northern", "Crimson", "Lucky", "Velvet", "Wandering", "Storm", "Distant",
    "Hidden", "Royal", "Bold", "Autumn", "Copper", "Gallant",
)
HORSE_LAST = (
    "Lantern", "Harbour", "Echo", "Falcon", "Verdict", "Meadow", "Dancer", "Crusade", "Whisper", "Anthem", "Compass", "Orchard",
    "Sovereign", "Tide", "Rumour", "Cascade", "Highlander", "Parade",
)

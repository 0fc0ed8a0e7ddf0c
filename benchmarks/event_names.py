"""Real names of teams, players, courses and competitions, for generated events. Data only; what is made of
it: event_fixtures.py.
"""

from __future__ import annotations

FOOTBALL = {
    "English Premier League": (
        "Arsenal; Aston Villa; Bournemouth; Brentford; Brighton & Hove Albion; Burnley; Chelsea; Crystal Palace; Everton; Fulham; Leeds United;"
        "Liverpool; Manchester City; Manchester United; Newcastle United; Nottingham Forest; Sunderland; Tottenham Hotspur; West Ham United;"
        "Wolverhampton Wanderers"
    ),
    "English Championship": (
        "Birmingham City; Blackburn Rovers; Bristol City; Charlton Athletic; Coventry City; Derby County; Hull City; Ipswich Town;"
        "Leicester City; Middlesbrough; Millwall; Norwich City; Oxford United; Portsmouth; Preston North End; Queens Park Rangers;"
        "Sheffield United; Sheffield Wednesday; Southampton; Stoke City; Swansea City; Watford; West Bromwich Albion; Wrexham"
    ),
    "English League One": (
        "AFC Wimbledon; Barnsley; Blackpool; Bolton Wanderers; Bradford City; Burton Albion; Cardiff City; Doncaster Rovers; Exeter City;"
        "Huddersfield Town; Leyton Orient; Lincoln City; Luton Town; Mansfield Town; Northampton Town; Peterborough United;"
        "Plymouth Argyle; Port Vale; Reading; Rotherham United; Stevenage; Stockport County; Wigan Athletic; Wycombe Wanderers"
    ),
    "English League Two": (
        "Accrington Stanley; Barnet; Barrow; Bristol Rovers; Bromley; Cambridge United; Cheltenham Town; Chesterfield; Colchester United;"
        "Crawley Town; Crewe Alexandra; Fleetwood Town; Gillingham; Grimsby Town; Harrogate Town; Milton Keynes Dons; Newport County;"
        "Notts County; Oldham Athletic; Salford City; Shrewsbury Town; Swindon Town; Tranmere Rovers; Walsall"
    ),
    "Spanish La Liga": (
        "Athletic Bilbao; Atlético Madrid; Barcelona; Celta Vigo; Deportivo Alavés; Elche; Espanyol; Getafe; Girona; Levante; Mallorca;"
        "Osasuna; Rayo Vallecano; Real Betis; Real Madrid; Real Oviedo; Real Sociedad; Sevilla; Valencia; Villarreal"
    ),
    "Spanish Segunda División": (
        "Albacete; Almería; Burgos; Cádiz; Castellón; Córdoba; Deportivo La Coruña; Eibar; Granada; Huesca; Las Palmas; Leganés; Málaga;"
        "Mirandés; Racing Santander; Real Valladolid; Real Zaragoza; Sporting Gijón"
    ),
    "Italian Serie A": (
        "Atalanta; Bologna; Cagliari; Como; Cremonese; Fiorentina; Genoa; Hellas Verona; Inter; Juventus; Lazio; Lecce; AC Milan; Napoli; Parma;"
        "Pisa; Roma; Sassuolo; Torino; Udinese"
    ),
    "German Bundesliga": (
        "Augsburg; Bayer Leverkusen; Bayern Munich; Borussia Dortmund; Borussia Mönchengladbach; Eintracht Frankfurt; FC Köln; Freiburg;"
        "Hamburger SV; Heidenheim; Hoffenheim; Mainz 05; RB Leipzig; St. Pauli; Stuttgart; Union Berlin; Werder Bremen; Wolfsburg"
    ),
    "French Ligue 1": (
        "Angers; Auxerre; Brest; Le Havre; Lens; Lille; Lorient; Lyon; Marseille; Metz; Monaco; Nantes; Nice; Paris FC; Paris Saint-Germain;"
        "Rennes; Strasbourg; Toulouse; Saint-Étienne; Montpellier"
    ),
    "Dutch Eredivisie": (
        "Ajax; AZ Alkmaar; Excelsior; Feyenoord; Fortuna Sittard; Go Ahead Eagles; Groningen; Heerenveen; Heracles; NAC Breda; NEC Nijmegen;"
        "PEC Zwolle; PSV Eindhoven; Sparta Rotterdam; Telstar; Twente; Utrecht; Volendam"
    ),
    "Portuguese Primeira Liga": (
        "Arouca; Benfica; Braga; Casa Pia; Estoril; Estrela Amadora; Famalicão; Gil Vicente; Moreirense; Nacional; Porto; Rio Ave; Santa Clara;"
        "Sporting Lisbon; Tondela; Vitória Guimarães"
    ),
    "Scottish Premiership": (
        "Aberdeen; Celtic; Dundee; Dundee United; Falkirk; Hearts; Hibernian; Kilmarnock; Livingston; Motherwell; Rangers; St Mirren"
    ),
    "Turkish Süper Lig": (
        "Alanyaspor; Antalyaspor; Başakşehir; Beşiktaş; Fenerbahçe; Galatasaray; Göztepe; Kasımpaşa; Kayserispor; Konyaspor; Rizespor;"
        "Samsunspor; Trabzonspor"
    ),
    "UEFA Champions League": (
        "Anderlecht; Bodø/Glimt; Celtic; Club Brugge; Copenhagen; Crvena Zvezda; Dinamo Zagreb; Dynamo Kyiv; FK Qarabağ; Ferencváros; Galatasaray;"
        "Malmö FF; Maccabi Tel Aviv; Olympiacos; Panathinaikos; PAOK Salonika; Red Bull Salzburg; Shakhtar Donetsk; Slavia Prague;"
        "Slovan Bratislava; Sparta Prague; Sturm Graz; Viktoria Plzeň; Young Boys"
    ),
    "Brazilian Série A": (
        "Athletico Paranaense; Atlético Mineiro; Bahia; Botafogo; Corinthians; Cruzeiro; Flamengo; Fluminense; Fortaleza; Grêmio;"
        "Internacional; Palmeiras; Santos; São Paulo; Vasco da Gama; Vitória"
    ),
    "Argentine Primera División": (
        "Argentinos Juniors; Banfield; Belgrano; Boca Juniors; Estudiantes de La Plata; Gimnasia La Plata; Huracán; Independiente; Lanús;"
        "Newell's Old Boys; Racing Club; River Plate; Rosario Central; San Lorenzo; Talleres; Vélez Sarsfield"
    ),
    "Major League Soccer": (
        "Atlanta United; Austin FC; Charlotte FC; Chicago Fire; Columbus Crew; DC United; FC Cincinnati; FC Dallas; Houston Dynamo; Inter Miami;"
        "LA Galaxy; Los Angeles FC; Minnesota United; Nashville SC; New England Revolution; New York City FC; New York Red Bulls; Orlando City;"
        "Philadelphia Union; Portland Timbers; Real Salt Lake; San Jose Earthquakes; Seattle Sounders; Sporting Kansas City; Toronto FC;"
        "Vancouver Whitecaps"
    ),
    "FA Women's Super League": (
        "Arsenal Women; Aston Villa Women; Brighton Women; Chelsea Women; Everton Women; Leicester City Women; Liverpool Women; London City Lionesses;"
        "Manchester City Women; Manchester United Women; Tottenham Women; West Ham Women"
    ),
    "Liga F": (
        "Athletic Club Women; Atlético Madrid Women; Badalona Women; Barcelona Women; Eibar Women; Granada Women; Levante Women; Madrid CFF;"
        "Real Madrid Women; Real Sociedad Women; Sevilla Women; UD Tenerife Women"
    ),
    "National Women's Soccer League": (
        "Angel City; Bay FC; Chicago Stars; Gotham FC; Houston Dash; Kansas City Current; North Carolina Courage; Orlando Pride; Portland Thorns;"
        "Racing Louisville; San Diego Wave; Seattle Reign; Utah Royals; Washington Spirit"
    ),
    "Premier League 2": (
        "Arsenal U21; Aston Villa U21; Blackburn Rovers U21; Brighton U21; Chelsea U21; Crystal Palace U21; Everton U21; Fulham U21; Leeds United U21;"
        "Liverpool U21; Manchester City U21; Manchester United U21; Middlesbrough U21; Newcastle United U21; Tottenham U21; West Ham U21"
    ),
    "FIFA World Cup Qualifying": (
        "Algeria; Argentina; Australia; Austria; Belgium; Bolivia; Bosnia and Herzegovina; Brazil; Bulgaria; Cameroon; Canada; Cape Verde; Chile;"
        "Colombia; Costa Rica; Croatia; Czech Republic; Denmark; DR Congo; Ecuador; Egypt; England; Finland; France; Georgia; Germany; Ghana; Greece;"
        "Honduras; Hungary; Iceland; Iran; Iraq; Israel; Italy; Ivory Coast; Jamaica; Japan; Mali; Mexico; Morocco; Netherlands; New Zealand; Nigeria;"
        "North Macedonia; Northern Ireland; Norway; Panama; Paraguay; Peru; Poland; Portugal; Qatar; Republic of Ireland; Romania; Saudi Arabia;"
        "Scotland; Senegal; Serbia; Slovakia; Slovenia; South Africa; South Korea; Spain; Sweden; Switzerland; Tunisia; Turkey; Ukraine; United States;"
        "Uruguay; Uzbekistan; Venezuela; Wales"
    ),
}  # fmt: skip
"""Competition -> its teams, separated by semicolons; so below."""

CRICKET = {
    "ICC T20 World Cup": (
        "Afghanistan; Australia; Bangladesh; Canada; England; India; Ireland; Namibia; Nepal; Netherlands; New Zealand; Oman; Pakistan;"
        "Papua New Guinea; Scotland; South Africa; Sri Lanka; Uganda; United Arab Emirates; United States; West Indies; Zimbabwe"
    ),
    "Indian Premier League": (
        "Chennai Super Kings; Delhi Capitals; Gujarat Titans; Kolkata Knight Riders; Lucknow Super Giants; Mumbai Indians; Punjab Kings;"
        "Rajasthan Royals; Royal Challengers Bengaluru; Sunrisers Hyderabad"
    ),
    "Big Bash League": (
        "Adelaide Strikers; Brisbane Heat; Hobart Hurricanes; Melbourne Renegades; Melbourne Stars; Perth Scorchers; Sydney Sixers;"
        "Sydney Thunder"
    ),
    "T20 Blast": (
        "Birmingham Bears; Derbyshire Falcons; Durham; Essex Eagles; Glamorgan; Gloucestershire; Hampshire Hawks; Kent Spitfires;"
        "Lancashire Lightning; Leicestershire Foxes; Middlesex; Northamptonshire Steelbacks; Nottinghamshire Outlaws; Somerset; Surrey;"
        "Sussex Sharks; Worcestershire Rapids; Yorkshire Vikings"
    ),
    "Pakistan Super League": (
        "Islamabad United; Karachi Kings; Lahore Qalandars; Multan Sultans; Peshawar Zalmi; Quetta Gladiators"
    ),
}  # fmt: skip

BASKETBALL = {
    "NBA": (
        "Atlanta Hawks; Boston Celtics; Brooklyn Nets; Charlotte Hornets; Chicago Bulls; Cleveland Cavaliers; Dallas Mavericks; Denver Nuggets;"
        "Detroit Pistons; Golden State Warriors; Houston Rockets; Indiana Pacers; Los Angeles Clippers; Los Angeles Lakers; Memphis Grizzlies;"
        "Miami Heat; Milwaukee Bucks; Minnesota Timberwolves; New Orleans Pelicans; New York Knicks; Oklahoma City Thunder; Orlando Magic;"
        "Philadelphia 76ers; Phoenix Suns; Portland Trail Blazers; Sacramento Kings; San Antonio Spurs; Toronto Raptors; Utah Jazz;"
        "Washington Wizards"
    ),
    "EuroLeague": (
        "Anadolu Efes; AS Monaco; Barcelona; Baskonia; Bayern Munich; Crvena Zvezda; Dubai; Fenerbahçe; Hapoel Tel Aviv; LDLC ASVEL; Maccabi Tel Aviv;"
        "Olimpia Milano; Olympiacos; Panathinaikos; Paris; Partizan; Real Madrid; Valencia; Virtus Bologna; Žalgiris Kaunas"
    ),
}  # fmt: skip

AMERICAN_FOOTBALL = {
    "NFL": (
        "Arizona Cardinals; Atlanta Falcons; Baltimore Ravens; Buffalo Bills; Carolina Panthers; Chicago Bears; Cincinnati Bengals;"
        "Cleveland Browns; Dallas Cowboys; Denver Broncos; Detroit Lions; Green Bay Packers; Houston Texans; Indianapolis Colts;"
        "Jacksonville Jaguars; Kansas City Chiefs; Las Vegas Raiders; Los Angeles Chargers; Los Angeles Rams; Miami Dolphins; Minnesota Vikings;"
        "New England Patriots; New Orleans Saints; New York Giants; New York Jets; Philadelphia Eagles; Pittsburgh Steelers; San Francisco 49ers;"
        "Seattle Seahawks; Tampa Bay Buccaneers; Tennessee Titans; Washington Commanders"
    ),
}  # fmt: skip

TENNIS = {
    "ATP Tour": (
        "Carlos Alcaraz; Sebastián Báez; Roberto Bautista Agut; Matteo Berrettini; Ben Shelton; Alexander Bublik; Pablo Carreño Busta; Francisco Cerúndolo;"
        "Marin Čilić; Borna Ćorić; Flavio Cobolli; Alejandro Davidovich Fokina; Alex de Minaur; Grigor Dimitrov; Novak Djokovic; Jack Draper;"
        "Tomás Martín Etcheverry; Félix Auger-Aliassime; João Fonseca; Taylor Fritz; Gaël Monfils; Dominik Koepfer; Hubert Hurkacz; Karen Khachanov;"
        "Miomir Kecmanović; Nick Kyrgios; Jiří Lehečka; Tomáš Macháč; Daniil Medvedev; Jakub Menšík; Lorenzo Musetti; Brandon Nakashima; Kei Nishikori;"
        "Cameron Norrie; Tommy Paul; Alexei Popyrin; Arthur Rinderknech; Holger Rune; Andrey Rublev; Casper Ruud; Denis Shapovalov; Jannik Sinner;"
        "Lorenzo Sonego; Jan-Lennard Struff; Frances Tiafoe; Stefanos Tsitsipas; Botic van de Zandschulp; Stan Wawrinka; Alexander Zverev; Zhizhen Zhang"
    ),
    "WTA Tour": (
        "Ekaterina Alexandrova; Amanda Anisimova; Mirra Andreeva; Bianca Andreescu; Victoria Azarenka; Paula Badosa; Belinda Bencic; Katie Boulter;"
        "Marie Bouzková; Danielle Collins; Olga Danilović; Leylah Fernandez; Caroline Garcia; Coco Gauff; Beatriz Haddad Maia; Ons Jabeur; Daria Kasatkina;"
        "Sofia Kenin; Madison Keys; Barbora Krejčíková; Veronika Kudermetova; Petra Kvitová; Magda Linette; Elise Mertens; Karolína Muchová; Emma Navarro;"
        "Jeļena Ostapenko; Naomi Osaka; Jasmine Paolini; Anastasia Pavlyuchenkova; Jessica Pegula; Karolína Plíšková; Emma Raducanu; Elena Rybakina;"
        "Aryna Sabalenka; Maria Sakkari; Liudmila Samsonova; Sloane Stephens; Iga Świątek; Elina Svitolina; Markéta Vondroušová; Donna Vekić; Qinwen Zheng;"
        "Clara Tauson; Diana Shnaider; Xinyu Wang; Anna Kalinskaya; Linda Nosková; Kateřina Siniaková; Marta Kostyuk"
    ),
}  # fmt: skip

RUGBY = {
    "United Rugby Championship": (
        "Benetton; Bulls; Cardiff Rugby; Connacht; Dragons; Edinburgh; Glasgow Warriors; Leinster; Lions; Munster; Ospreys; Scarlets; Sharks; Stormers;"
        "Ulster; Zebre Parma"
    ),
    "Top 14": (
        "Aviron Bayonnais; Bordeaux Bègles; Castres Olympique; Clermont Auvergne; La Rochelle; Lyon; Montpellier; Pau; Perpignan; Racing 92;"
        "Stade Français; Stade Toulousain; Toulon"
    ),
    "National Rugby League": (
        "Brisbane Broncos; Canberra Raiders; Canterbury Bulldogs; Cronulla Sharks; Gold Coast Titans; Manly Sea Eagles; Melbourne Storm;"
        "Newcastle Knights; New Zealand Warriors; North Queensland Cowboys; Parramatta Eels; Penrith Panthers; South Sydney Rabbitohs;"
        "St George Illawarra Dragons; Sydney Roosters; Wests Tigers"
    ),
}  # fmt: skip

RACECOURSES = (
    "Aintree; Ascot; Ayr; Bangor-on-Dee; Bath; Beverley; Brighton; Carlisle; Cartmel; Catterick; Chelmsford City; Cheltenham; Chepstow; Chester;"
    "Curragh; Doncaster; Down Royal; Dundalk; Epsom Downs; Exeter; Fairyhouse; Fakenham; Ffos Las; Fontwell Park; Galway; Goodwood; Hamilton Park; Haydock Park;"
    "Hereford; Hexham; Huntingdon; Kelso; Kempton Park; Leicester; Leopardstown; Limerick; Lingfield Park; Ludlow; Market Rasen; Musselburgh; Naas;"
    "Newbury; Newcastle; Newmarket; Newton Abbot; Nottingham; Perth; Plumpton; Pontefract; Punchestown; Redcar; Ripon; Salisbury; Sandown Park; Sedgefield;"
    "Southwell; Stratford-on-Avon; Taunton; Thirsk; Tipperary; Towcester; Uttoxeter; Warwick; Wetherby; Wexford; Wincanton; Windsor; Wolverhampton;"
    "Worcester; Yarmouth; York; Flemington; Randwick; Caulfield; Moonee Valley; Longchamp; Chantilly; Deauville; Meydan; Sha Tin; Happy Valley; Santa Anita;"
    "Churchill Downs; Belmont Park; Saratoga; Gulfstream Park; Del Mar; Kranji; Greyville; Kenilworth"
)  # fmt: skip

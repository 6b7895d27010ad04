//! Version 1 of the names in other languages than English. A published list never changes: see `v1`.

/// What names of a language are made of.
#[derive(Debug)]
pub(super) struct NameLists {
    pub(super) first: &'static [&'static str],
    /// Beginnings and endings of surnames.
    pub(super) onsets: &'static [&'static str],
    pub(super) ends: &'static [&'static str],
}

/// German.
pub(super) const DE: NameLists = NameLists {
    first: &[
        "Ada", "Anton", "Arne", "Beate", "Benno", "Birgit", "Carla", "Clemens", "Dana", "Detlef",
        "Dirk", "Edith", "Elke", "Emil", "Erik", "Ernst", "Fabian", "Falk", "Franka", "Frieda",
        "Gerda", "Gesine", "Greta", "Gustav", "Hanna", "Hannes", "Heidi", "Henrik", "Holger",
        "Ida", "Ilse", "Imke", "Ingo", "Jakob", "Jana", "Jens", "Johanna", "Jonas", "Jutta",
        "Karl", "Katja", "Kirsten", "Klara", "Konrad", "Lena", "Leon", "Lina", "Linus", "Lothar",
        "Luise", "Malte", "Marta", "Mats", "Merle", "Mia", "Moritz", "Nele", "Niklas", "Norbert",
        "Oskar", "Otto", "Paula", "Pia", "Quirin", "Ralf", "Renate", "Rosa", "Ruth", "Selma",
        "Silke", "Simon", "Sofie", "Svenja", "Tanja", "Theo", "Tilda", "Tim", "Ulla", "Ulrich",
        "Vera", "Viktor", "Volker", "Wanda", "Werner", "Wiebke", "Wilma", "Xaver", "Yannik",
    ],
    onsets: &[
        "Ahorn", "Ampel", "Anker", "Birken", "Brunnen", "Dachs", "Distel", "Eiben", "Elster",
        "Farn", "Fichten", "Ginster", "Hafer", "Hasel", "Holder", "Igel", "Kiesel", "Klee",
        "Kupfer", "Lerchen", "Luchs", "Minz", "Moos", "Nebel", "Nelken", "Otter", "Perlen", "Pilz",
        "Quellen", "Raben", "Rauch", "Salbei", "Schilf", "Silber", "Spatzen", "Tannen", "Torf",
        "Uhlen", "Ulmen", "Veilchen", "Wachtel", "Weiden", "Wolken", "Zimt",
    ],
    ends: &[
        "zwirn", "quarz", "sporn", "glimm", "wippe", "knauf", "drall", "flirr", "krume", "tupf",
        "zunft", "locke", "raunen", "gleis", "spross", "funke", "hauch",
    ],
};

/// Spanish.
pub(super) const ES: NameLists = NameLists {
    first: &[
        "Abril", "Adela", "Alba", "Alicia", "Alonso", "Amaia", "Andrea", "Arturo", "Aurora",
        "Beatriz", "Berta", "Blas", "Bruno", "Camila", "Candela", "Carla", "Celia", "Clara",
        "Cruz", "Damian", "Daniel", "Diana", "Diego", "Elena", "Elisa", "Emilio", "Enrique",
        "Esther", "Eva", "Fabio", "Felipe", "Gaspar", "Gema", "Gloria", "Gonzalo", "Hugo",
        "Ignacio", "Ines", "Irene", "Isabel", "Ivan", "Jaime", "Jimena", "Joaquin", "Jorge",
        "Julia", "Julio", "Laura", "Leire", "Lidia", "Lola", "Lorenzo", "Lucas", "Lucia", "Luna",
        "Manuela", "Marcos", "Marina", "Mario", "Marta", "Mateo", "Miguel", "Miriam", "Nadia",
        "Noelia", "Nuria", "Olga", "Oscar", "Pablo", "Paloma", "Pedro", "Pilar", "Rafael", "Ramon",
        "Raquel", "Ricardo", "Rocio", "Rosa", "Ruben", "Samuel", "Sara", "Sergio", "Silvia",
        "Sofia", "Tomas", "Valeria", "Vega", "Vicente", "Victor", "Yolanda",
    ],
    onsets: &[
        "Alma", "Arena", "Avena", "Barca", "Brisa", "Bruma", "Cala", "Ceniza", "Cielo", "Corcho",
        "Duna", "Espiga", "Estela", "Faro", "Gavia", "Grano", "Hiedra", "Hoja", "Isla", "Jara",
        "Junco", "Lirio", "Lona", "Malva", "Marea", "Menta", "Musgo", "Niebla", "Nube", "Olmo",
        "Orilla", "Pluma", "Roble", "Salvia", "Sauce", "Tilo", "Trigo", "Umbra", "Vela", "Zarza",
    ],
    ends: &[
        "brisol", "candil", "dorel", "luzano", "quizar", "rendel", "vistal", "fontel", "guindo",
        "mirlo", "nadal", "perlin", "sonte", "tarjo", "velino", "zumel",
    ],
};

/// French.
pub(super) const FR: NameLists = NameLists {
    first: &[
        "Adele", "Agathe", "Alain", "Alice", "Amelie", "Anais", "Antoine", "Arthur", "Aude",
        "Aurore", "Axel", "Basile", "Bastien", "Benoit", "Bruno", "Camille", "Carole", "Celeste",
        "Chloe", "Claire", "Claude", "Colette", "Corinne", "Damien", "David", "Denis", "Diane",
        "Didier", "Edgar", "Elise", "Eloise", "Emile", "Emma", "Estelle", "Eva", "Fabien", "Fanny",
        "Felix", "Flora", "Florent", "Gaelle", "Gaston", "Gilles", "Helene", "Henri", "Hugo",
        "Ines", "Irene", "Jade", "Jeanne", "Joel", "Jules", "Julie", "Laure", "Lea", "Leon",
        "Lise", "Louis", "Lucie", "Lucien", "Manon", "Marcel", "Margot", "Marius", "Mathieu",
        "Maud", "Maxime", "Nadine", "Noemie", "Octave", "Odile", "Olivier", "Pascal", "Pauline",
        "Perrine", "Quentin", "Rachel", "Raoul", "Rene", "Robin", "Romane", "Rose", "Sabine",
        "Serge", "Simone", "Solene", "Sylvie", "Theo", "Thierry", "Valerie", "Victor", "Yann",
        "Yves", "Zelie",
    ],
    onsets: &[
        "Ambre", "Argile", "Aube", "Avoine", "Bleuet", "Brise", "Brume", "Cendre", "Chardon",
        "Cigale", "Copeau", "Dune", "Ecume", "Etoile", "Feuille", "Fleuve", "Fougere", "Givre",
        "Grive", "Houle", "Jonc", "Lierre", "Lune", "Marne", "Menthe", "Meule", "Mousse", "Navire",
        "Nuage", "Ombre", "Orme", "Perle", "Plume", "Prisme", "Roseau", "Sable", "Saule", "Sorbe",
        "Tourbe", "Trefle", "Vague", "Verveine",
    ],
    ends: &[
        "bisque", "dolle", "gance", "lorgne", "quine", "rolle", "vresse", "zart", "fruce",
        "mouvel", "nacre", "pinte", "sarne", "trevel", "vouge", "blair",
    ],
};

/// First half of the BLAKE3 over all lists of this file, so that a test notices a change.
#[cfg(test)]
pub(super) const FINGERPRINT: &str = "4f0cd670327ee1ca";

#include <optional>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <athanor/chem/polymer.hpp>

using namespace athanor;
using namespace athanor::chem;

namespace {

/// What a user reported or a public file holds, and what becomes of it.
struct Reported {
  std::string source;
  std::string text;
  std::string refusal;           // empty: it is read
  std::optional<int> byte = {};  // of the refusal
  std::string no_polymer = "";   // what is said of a text that is read but is no polymer
};

std::vector<Reported> const reports = {
    {"polygnn 19", "[*]CCCC(=[*])Cl", "repeat unit: the bonds of the two * differ, so they cannot be joined",
     9},
    {"polygnn 19", "[*]CCCC#[*]", "repeat unit: the bonds of the two * differ, so they cannot be joined", 8},
    {"psmiles 20", "*O[Sn](CCCC)(CCCC)OC(=O)c1ccc(C(*)=O)cc1", ""},
    {"psmiles 20", "*C(=O)c1ccc(cc1)C(=O)O[Sn](CCCC)(CCCC)O*", ""},
    {"psmiles 21", "*CC(*)(C)C(=O)OCCOC(=O)C(*)(C)C*",
     "repeat unit: two * mark the ends of a repeat unit, this SMILES has 4: ladder polymers and networks are "
     "not "
     "read",
     25},
    {"canonicalize_psmiles 12", "*Oc1cc(*)c(*)cc1O*",
     "repeat unit: two * mark the ends of a repeat unit, this SMILES has 4: ladder polymers and networks are "
     "not "
     "read",
     11},
    {"canonicalize_psmiles 12", "[e]Oc1cc([t])c([d])cc1O[g]",
     "smiles: [e] at byte 0 marks an end of a ladder polymer; ladder polymers are not read", 1},
    {"canonicalize_psmiles 2", "*N1C(=O)c2ccc3c4ccc5C(=Nc6ccccc6N*)c5c4ccc3c2C1=O", ""},
    {"Graph-DiT 2", "*=CC1CCC(C1)C=*", ""},
    {"OpenSMILES 8", "C&1&1", "smiles: unexpected & at byte 1", 1},
    {"dialect 31", "c1ccccc1C&1C&1", "smiles: unexpected & at byte 9", 9},
    {"Indigo 874", "CCCC |Sg:n:0,1,2:3-6:eu|",
     "smiles: the extension at byte 5 has a part Sg: at byte 6 that changes the molecule; write a repeat "
     "unit with "
     "its two open ends as *",
     6},
    {"rdkit 4233", "CCC |^1:0|",
     "smiles: the extension at byte 4 has a part ^ at byte 5 that changes the molecule; write the molecule "
     "itself as "
     "SMILES",
     5},
    {"rdkit 4233", "*CC(*)C |$star_e;;;star_e;C,^1$,&1:2|", ""},
    {"SAMPL7 56", "CCCC |&1:1,4,r", "smiles: the extension opened at byte 5 is never closed by |", 5},
    {"smilesDrawer 123", "[R]", "smiles: R at byte 1 is no element; write an open end as *", 1},
    {"RanDepict 6", "[R1]CC[R2]", "smiles: R at byte 1 is no element; write an open end as *", 1},
    {"rdkit 8617", "[*:1]CC(C)[*:2]", ""},
    {"datagrok 1800", "[1*]CC([2*])c1ccccc1", ""},
    {"G-BigSMILES 72", "{[$]CC[$]}",
     "smiles: { at byte 0 belongs to BigSMILES, which is not read; write a repeat unit with its two open "
     "ends as *",
     0},
    {"PolyMetriX 66", "CC[>]",
     "smiles: [> at byte 2 belongs to BigSMILES, which is not read; write a repeat unit with its two open "
     "ends as *",
     3},
    {"AI4Green 121", "*CC(*)C.*CC(*)c1ccccc1",
     "repeat unit: two * mark the ends of a repeat unit, this SMILES has 4: copolymers are not read", 8},
    {"m2p 7", "O=C(O)c1ccc(C(=O)O)cc1.OCCO", "", {}, "2 molecules side by side"},
    {"m2p 7", "C=C.C=CC", "", {}, "2 molecules side by side"},
    {"chemprop 1162", "C[Br]C",
     "smiles: the bonds of Br at byte 1 add up to 2, more than its valence permits", 1},
    {"chemprop 1162", "N1(=CCCC1)I",
     "smiles: the bonds of N at byte 0 add up to 4, more than its valence permits", 0},
    // As the RDKit of this build; one from 2024 on refuses it.
    {"chemprop 1122", "CC1=CC=C[NH+2]([O-])C1", "", {}, "a molecule of 8 heavy atoms"},
    {"chemprop 1122", "[]", "smiles: no element at byte 1 inside the bracket opened at byte 0", 1},
    {"chemprop 261", "C", "", {}, "one heavy atom"},
    {"pyg_chemprop 4", "N", "", {}, "one heavy atom"},
    {"fairchem 1212", "[He]", "smiles: the molecule has no bonds, and a model reads bonds"},
    {"fairchem 1212", "[Na+].[Cl-]", "smiles: the molecule has no bonds, and a model reads bonds"},
    {"chebifier-web 5", "OO", "", {}, "a molecule of 2 heavy atoms"},
    {"pycdxml 19", "CC(=O)[O-].[Na+]", "", {}, "2 molecules side by side, with charges: a salt"},
    // An ionomer is a polymer with its counter-ion: both are read, as a model was trained.
    {"gcnn_keras 51", "*CC(*)C(=O)[O-].[Na+]", ""},
    {"rdkit 4534", "c1cccn1",
     "smiles: the aromatic ring at byte 0 has no arrangement of double bonds; if the n at byte 5 carries a "
     "hydrogen, "
     "it is written [nH]",
     5},
    {"rdkit 619", "n1cnnc1N",
     "smiles: the aromatic ring at byte 0 has no arrangement of double bonds; if the n at byte 0 carries a "
     "hydrogen, "
     "it is written [nH]",
     0},
    {"rdkit 1928", "c1ccc2c(c1)c1ccccc1n2-n1c2ccccc2c2ccccc21", "", {}, "a molecule of 26 heavy atoms"},
    {"rdkit 432", "C[N]C", "", {}, "a molecule of 3 heavy atoms"},
    {"rdkit 1900",
     "C12=C3C4=C5C6=C1C7=C8C9=C1C%10=C%11C(=C29)C3=C2C3=C4C4=C5C5=C9C6=C7C6=C7C8=C1C1=C8C%10=C%10C%11=C2C2="
     "C3C3=C4C4="
     "C5C5=C%11C%12=C(C6=C95)C7=C1C1=C%12C5=C%11C4=C3C3=C5C(=C81)C%10=C23",
     ""},
    {"rdkit 518", "C1*C1CC*2CC2", "repeat unit: the * at byte 2 must have one neighbour, it has 2", 2},
    {"rdkit 1703", "c1ccccn1->[Fe]", "", {}, "a molecule of 7 heavy atoms"},
    {"rdkit 2303", "N->1CCN->[Pt]1", "", {}, "a molecule of 5 heavy atoms"},
    {"rdkit 7282", "B<-O", "", {}, "a molecule of 2 heavy atoms"},
    {"rdkit 5120", "[Mg+2]<-O", "", {}, "a molecule of 2 heavy atoms"},
    {"rdkit 3189", "F[H][F-]", "smiles: the bonds of H at byte 1 add up to 2, more than its valence permits",
     1},
    {"rdkit 3189", "[H+]1[H][H]1",
     "smiles: the bonds of H+ at byte 0 add up to 2, more than its valence permits", 0},
    {"rdkit 6263", "[O-][Na+]",
     "smiles: the bonds of Na+ at byte 4 add up to 1, more than its valence permits", 4},
    {"rdkit 5130", "C%1CCCCC%1", "smiles: % at byte 1 is not followed by two digits", 1},
    {"beam 7", "C0CCCCC%0", "smiles: % at byte 7 is not followed by two digits", 7},
    {"rdkit 2909", "C%(5000)CCC(C%(5000))", "", {}, "a molecule of 5 heavy atoms"},
    {"rdkit 1623", "C%100CCCCC%100", "smiles: ring 0 at byte 13 joins two atoms that are bonded already", 13},
    {"rdkit 1623", "C12CCCCC12", "smiles: ring 2 at byte 9 joins two atoms that are bonded already", 9},
    {"rdkit 1623", "C1CCCCC%01", "", {}, "a molecule of 6 heavy atoms"},
    {"rdkit 1395", "C(5)C.F5", "smiles: ring number without an atom before it at byte 2", 2},
    {"rdkit 4130", "(C)C", "smiles: branch without an atom before it at byte 0", 0},
    {"rdkit 136", "F/C=C\\\\Cl", "", {}, "a molecule of 4 heavy atoms"},
    // Refused on purpose: no feature describes a bond of any kind.
    {"RDKit's own notation", "C~C", "smiles: ~ at byte 1 is any bond; write the bond that is meant", 1},
    {"global-chem 335", "CSi(C(C)(C)C)C", "smiles: element Si at byte 1 must be written in brackets, [Si]",
     1},
    {"global-chem 335", "NaO", "smiles: element Na at byte 0 must be written in brackets, [Na]", 0},
    {"global-chem 335", "HCl", "smiles: element H at byte 0 must be written in brackets, [H]", 0},
    {"global-chem 335", "OH", "smiles: element H at byte 1 must be written in brackets, [H]", 1},
    {"two letters that are atoms too", "CSnC",
     "smiles: the atom at byte 2 is written as aromatic but is in no aromatic ring; the element Sn is "
     "written [Sn]",
     2},
    {"polygon 7", "C<unk>c1", "smiles: unexpected < at byte 1", 1},
    {"rdkit 2672", "CCO\tZINC0001", "", {}, "a molecule of 3 heavy atoms"},
    {"FASMIFRA 20", "*CC(*)c1ccccc1 poly styrene", ""},
    {"aizynthfinder 114", "\"CCO\"", "smiles: unexpected \" at byte 0", 0},
    {"BALL 411", "C\\2=N\\CCCCN/2", "", {}, "a molecule of 7 heavy atoms"},
    {"cdk 516", "C\\1.C/C=C\\1", "", {}, "2 molecules side by side"},
    {"chemfiles 303", "C{-}C",
     "smiles: { at byte 1 belongs to BigSMILES, which is not read; write a repeat unit with its two open "
     "ends as *",
     1},
    {"REINVENT4 183", "C%2112CC1C2C%21", "", {}, "a molecule of 5 heavy atoms"},
    {"REINVENT4 183", "C%21%12CC1C2C%21", "smiles: ring 1 opened at byte 9 is never closed", 9},
    {"a table of polymers", "*=C([2H])C=*", ""},
    {"yowl 19", "['Lv']", "smiles: no element at byte 1 inside the bracket opened at byte 0", 1},
    {"a name", "polystyrene", "smiles: unknown element l at byte 2; 'polystyrene' reads like a name", 2},
    {"a number of a registry", "9003-53-6", "smiles: '9003-53-6' is a CAS number, and only SMILES is read"},
    {"an InChI", "InChI=1S/CH4/h1H4", "smiles: an InChI, and only SMILES is read"},
    {"an abbreviation", "PS", "", {}, "a molecule of 2 heavy atoms"},
    {"an abbreviation", "PVC", "smiles: unknown element V at byte 1; 'PVC' reads like an abbreviation", 1},
    {"an abbreviation", "PA-6 melt", "smiles: unknown element A at byte 1; 'PA-6' reads like an abbreviation",
     1},
    {"an abbreviation that is a formula", "CHO",
     "smiles: element H at byte 1 must be written in brackets, [H]", 1},
    {"a name", "Poly(1-butene)", "smiles: unknown element l at byte 2; 'Poly' reads like a name", 2},
    {"a group", "*CC(*)Ph", "smiles: Ph at byte 6 is the name of a group; write its atoms", 6},
    {"a group", "*CC(*)[Me]", "smiles: Me at byte 7 is the name of a group; write its atoms", 7},
    {"a rest", "*CC(*)R", "smiles: R at byte 6 is no element; write an open end as *", 6},
    {"capitals", "*CC(*)CL", "smiles: CL at byte 6: the element is written Cl", 6},
    {"small letters", "*CC(*)br", "smiles: br at byte 6: the element is written Br", 6},
    {"an isotope", "*CC([D])*", "smiles: [D] at byte 4 is written [2H]", 5},
    {"SMARTS", "[#6]CC", "smiles: [# at byte 0 belongs to SMARTS; only SMILES is read", 1},
    {"an InChIKey", "PPBRXRYQALVLMV-UHFFFAOYSA-N",
     "smiles: 'PPBRXRYQALVLMV-UHFFFAOYSA-N' is an InChIKey, and only SMILES is read"},
    {"a column of temperatures", "373 K", "smiles: '373 K' reads like a number, and only SMILES is read"},
    {"a column of temperatures", "-12,5", "smiles: '-12,5' reads like a number, and only SMILES is read"},
    {"the formula of a chain", "(C2H4)n",
     "smiles: '(C2H4)n' reads like the formula of a chain; write a repeat unit with its two open ends as *"},
    {"the formula of a chain", "-[CH2-CH2]-n",
     "smiles: '-[CH2-CH2]-n' reads like the formula of a chain; write a repeat unit with its two open ends "
     "as *"},
    {"a ring that is not closed", "[*]c1cc([*])n", "smiles: ring 1 opened at byte 4 is never closed", 4},
    {"an element without brackets", "c1ccccSi1",
     "smiles: element Si at byte 6 must be written in brackets, [Si]", 6},
    {"capitals", "*CC(*)BR", "smiles: BR at byte 6: the element is written Br", 6},
    {"capitals", "C1CCCCC1CL", "smiles: CL at byte 8: the element is written Cl", 8},
    {"a ring that is not closed", "c1cc(C)n", "smiles: ring 1 opened at byte 1 is never closed", 1},
    {"JSON", "{\"smiles\": \"*CC*\"}", "smiles: JSON, and only SMILES is read here"},
    {"a page of the web", "*CC*C\xC2\xA0", "smiles: a no-break space at byte 5; SMILES is ASCII", 5},
    {"a word processor",
     "\xE2\x88\x97"
     "CC*",
     "smiles: a star other than * at byte 0; SMILES is ASCII", 0},
    {"a blank inside", "*CC (*)C",
     "repeat unit: two * mark the ends of a repeat unit, this SMILES has 1: it ends at the blank at byte 3"},
    {"a polymer in a solvent",
     "*CC(*)c1ccccc1.c1ccccc1",
     "",
     {},
     "a repeat unit and a molecule without a charge beside it, a mixture"},
    {"a polymer with nitro groups in a solvent",
     "*CC(*)c1ccc([N+](=O)[O-])cc1.Cc1ccccc1",
     "",
     {},
     "a repeat unit and a molecule without a charge beside it, a mixture"},
    {"an ionomer with water", "*CC(*)C(=O)[O-].[Na+].O", ""},
    {"a formula", "C8H8", "smiles: 'C8H8' reads like a formula, and only SMILES is read"},
    {"a reaction", "CC>>CO", "smiles: > at byte 2 belongs to a reaction; reactions are not read", 2},
    {"chemprop 397", "NaN", "smiles: no SMILES: 'NaN' stands for a missing value"},
    {"chemprop 397", "nan", "smiles: no SMILES: 'nan' stands for a missing value"},
    {"openad 38", "None", "smiles: no SMILES: 'None' stands for a missing value"},
    {"openad 38", "NULL", "smiles: no SMILES: 'NULL' stands for a missing value"},
    {"a table", "", "smiles: no SMILES: the text is empty"},
    {"a table", " \t", "smiles: no SMILES: the text is blank"},
    {"a table", "-", "smiles: no SMILES: '-' stands for a missing value"},
    {"a spreadsheet", "#N/A", "smiles: no SMILES: '#N/A' stands for a missing value"},
    {"a spreadsheet", " *CC(*)C \r\n", ""},
    {"a spreadsheet", "  *CC(*)Q ", "smiles: unknown element Q at byte 8", 8},
};

}  // namespace

// mutant: a name after a SMILES is refused
// mutant: of two backslashes one is read
// mutant: a text that is no SMILES at all is not named for what it is
// mutant: an abbreviation is an element that nobody knows
// mutant: a group is an element that nobody knows
// mutant: any word of capitals is an abbreviation
// mutant: a number is not told to be one
// mutant: a ring that is not closed is the formula of a chain
// mutant: blanks that are no ASCII are told by their bytes
// mutant: a mixture of a polymer passes for the polymer
// mutant: a repeat unit that a blank cuts is told without the blank
TEST_CASE("what users reported has its stated answer, and a refusal its place") {
  for (auto const& [source, text, refusal, byte, phrase] : reports) {
    auto const fault = find_fault(text);
    CHECK_MESSAGE((fault ? fault->error.message : "") == refusal, source, ": ", text);
    CHECK_MESSAGE((fault ? fault->byte : std::nullopt).value_or(-1) == byte.value_or(-1), source, ": ", text);
    auto const prepared = prepare_polymer(text);
    CHECK_MESSAGE(prepared.has_value() == !fault, source, ": ", text);
    if (!prepared) {
      CHECK_MESSAGE(prepared.error() == fault->error, text);
      continue;
    }
    CHECK_MESSAGE(no_polymer(*check_smiles(text)) == phrase, source, ": ", text);
  }
}

// mutant: the bonds of an impossible atom leave out hydrogens that are written as atoms
TEST_CASE("an impossible atom is named with its bonds, however hydrogens are written") {
  auto const message = [](char const* text) { return find_fault(text)->error.message; };
  CHECK(message("CC(C)(C)(C)C") ==
        "smiles: the bonds of C at byte 1 add up to 5, more than its valence permits");
  CHECK(message("CC(=O)(=O)C") ==
        "smiles: the bonds of C at byte 1 add up to 6, more than its valence permits");
  CHECK(message("[H]C([H])([H])([H])C") ==
        "smiles: the bonds of C at byte 3 add up to 5, more than its valence permits");
  CHECK(message("*C([H])([H])C(*)(C)(C)C") ==
        "smiles: the bonds of C at byte 12 add up to 5, more than its valence permits");
  CHECK(message("C[N+](C)(C)(C)C") ==
        "smiles: the bonds of N+ at byte 1 add up to 5, more than its valence permits");
}

// mutant: a SMILES begins where its text does
TEST_CASE("the facts say where the SMILES stands in the text") {
  std::string const text = " CCO |$;;x$| ethanol";
  auto const facts = check_smiles(text);
  REQUIRE(facts);
  CHECK(facts->begin == 1);
  CHECK(facts->size == 3);
  CHECK(text.substr(static_cast<std::size_t>(facts->begin + facts->size)) == " |$;;x$| ethanol");
  CHECK(prepare_polymer(text)->graph == prepare_polymer("CCO")->graph);
  CHECK(check_smiles("C[NH3+].[Cl-]")->charged == 2);
  CHECK(check_smiles("[C+0]")->charged == 0);
}

// mutant: a line break inside a name is read
TEST_CASE("what stands after a SMILES is one line") {
  CHECK(find_fault("CCO name\nCCN")->error.message == "smiles: line break at byte 8");
  CHECK(find_fault(std::string_view("CCO na\0me", 9))->error.message == "smiles: NUL at byte 6");
  CHECK(!find_fault("CCO caf\xe9"));
}

// mutant: a molecule of 30 heavy atoms is too small for a polymer
TEST_CASE("a molecule without open ends is a polymer from a size on") {
  CHECK(no_polymer(*check_smiles(std::string(smallest_oligomer - 1, 'C'))) == "a molecule of 29 heavy atoms");
  CHECK(no_polymer(*check_smiles(std::string(smallest_oligomer, 'C'))).empty());
  CHECK(no_polymer(*check_smiles("*C*")).empty());
}

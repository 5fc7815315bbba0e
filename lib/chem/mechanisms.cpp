#include "mechanisms.hpp"

#include <algorithm>

namespace athanor::inline v1::chem {

namespace {

// The patterns of vinyl, acrylate, ester, amide, imide, carbonate, urethane and nipu are those of m2p
// 0.1.8.3.

GroupRule const aliphatic_alcohol{
    .name = "aliphatic alcohol", .smarts = "[C;!$(C=O);!$([a])][OH]", .ways = {{.entry = 1}}};
GroupRule const alcohol{.name = "alcohol or phenol", .smarts = "[C,c;!$(C=O)][OH]", .ways = {{.entry = 1}}};
GroupRule const acid{.name = "carboxylic acid or acyl halide",
                     .smarts = "[#6][#6](=[#8])([F,Cl,Br,I,#8H,O-])",
                     .ways = {{.entry = 1, .leaving = 3}}};
GroupRule const amine{
    .name = "primary amine", .smarts = "[#6;!$(C=O)][NH2;!$([NH2+])]", .ways = {{.entry = 1}}};
// The nitrogen of an imide has two bonds into the anhydride's ring, so a repeat unit is cut on its other
// side.
GroupRule const imide_amine{.name = "primary amine",
                            .smarts = "[#6;!$(C=O)][NH2;!$([NH2+])]",
                            .ways = {{.entry = 1}},
                            .open_way = Way{.entry = 0, .leaving = 1}};
GroupRule const anhydride{.name = "acid anhydride",
                          .smarts = "[#8]([#6](=[#8]))([#6](=[#8]))",
                          .ways = {{.entry = 1, .second = 3, .leaving = 0}},
                          .open = Cap::nitrogen_star};
GroupRule const carbonate{.name = "phosgene or carbonic ester group",
                          .smarts = "[O]=[C]([F,Cl,Br,I,O])([F,Cl,Br,I,O])",
                          .ways = {{.entry = 1, .leaving = 2}, {.entry = 1, .leaving = 3}},
                          .each = true};
GroupRule const isocyanate{.name = "isocyanate",
                           .smarts = "[#6][#7;!$([#7+])]=[#6]=[#8]",
                           .ways = {{.entry = 2, .changes = {{1, 2, 1}}}}};
GroupRule const cyclic_carbonate{
    .name = "five-membered cyclic carbonate",
    .smarts = "[O]=[C]1[O][C][C][O]1",
    .ways = {{.entry = 1, .changes = {{1, 2, 0}}}, {.entry = 1, .changes = {{1, 5, 0}}}}};
GroupRule const epoxide{.name = "epoxide",
                        .smarts = "[C]1[O][C]1",
                        .ways = {{.entry = 0, .changes = {{0, 1, 0}}}, {.entry = 2, .changes = {{2, 1, 0}}}}};
GroupRule const nucleophile{.name = "alcohol, phenol, thiol or primary amine",
                            .smarts = "[#6;!$(C=O)][OH,SH,NH2]",
                            .ways = {{.entry = 1}}};

GroupRule const double_bond{.name = "C=C",
                            .smarts = "C=C",
                            .ways = {{.entry = 0, .exit = 1, .changes = {{0, 1, 1}}},
                                     {.entry = 1, .exit = 0, .changes = {{0, 1, 1}}}}};
GroupRule const acryl{.name = "CH2=C-C=O", .smarts = "[CH2]=[C][C](=[O])", .ways = double_bond.ways};
GroupRule const conjugated_diene{
    .name = "C=C-C=C",
    .smarts = "[C]=[C][C]=[C]",
    .ways = {{.entry = 0, .exit = 3, .changes = {{0, 1, 1}, {1, 2, 2}, {2, 3, 1}}},
             {.entry = 3, .exit = 0, .changes = {{0, 1, 1}, {1, 2, 2}, {2, 3, 1}}}}};
GroupRule const triple_bond{.name = "C#C",
                            .smarts = "C#C",
                            .ways = {{.entry = 0, .exit = 1, .changes = {{0, 1, 2}}},
                                     {.entry = 1, .exit = 0, .changes = {{0, 1, 2}}}}};
GroupRule const lactone{.name = "lactone",
                        .smarts = "[#6][C](=O)@[O][#6;!$(C=O)]",
                        .ways = {{.entry = 1, .exit = 3, .changes = {{1, 3, 0}}}},
                        .first = Cap::hydroxyl};
GroupRule const lactam{.name = "lactam",
                       .smarts = "[#6][C](=O)@[NX3;!$(N(C=O)C=O)]",
                       .ways = {{.entry = 1, .exit = 3, .changes = {{1, 3, 0}}}},
                       .first = Cap::hydroxyl};
GroupRule const ring_carbonate{.name = "cyclic carbonate",
                               .smarts = "[O]@[C](=O)@[O]",
                               .ways = {{.entry = 1, .exit = 3, .changes = {{1, 3, 0}}},
                                        {.entry = 1, .exit = 0, .changes = {{1, 0, 0}}}},
                               .first = Cap::hydroxyl};
// Rings of six, such as dioxane, have no strain and do not open.
GroupRule const ring_ether{.name = "cyclic ether of 3, 4, 5 or 7 atoms",
                           .smarts = "[CX4]@[O,S;r3,r4,r5,r7]@[CX4]",
                           .ways = {{.entry = 0, .exit = 1, .changes = {{0, 1, 0}}},
                                    {.entry = 2, .exit = 1, .changes = {{2, 1, 0}}}},
                           .first = Cap::hydroxyl};

std::vector<MechanismRow> const table{
    {Mechanism::vinyl, "vinyl", {&double_bond}},
    {Mechanism::acrylate, "acrylate", {&acryl}},
    {Mechanism::diene, "diene", {&conjugated_diene}},
    {Mechanism::acetylene, "acetylene", {&triple_bond}},
    {Mechanism::ring_opening, "ring-opening", {&lactone, &lactam, &ring_carbonate, &ring_ether}},
    {Mechanism::ester, "ester", {}, &aliphatic_alcohol, &acid},
    {Mechanism::amide, "amide", {}, &amine, &acid},
    {Mechanism::imide, "imide", {}, &imide_amine, &anhydride},
    {Mechanism::carbonate, "carbonate", {}, &alcohol, &carbonate},
    {Mechanism::urethane, "urethane", {}, &isocyanate, &alcohol},
    {Mechanism::urea, "urea", {}, &isocyanate, &amine},
    {Mechanism::nipu, "nipu", {}, &amine, &cyclic_carbonate},
    {Mechanism::epoxy, "epoxy", {}, &nucleophile, &epoxide},
};

char folded(char letter) {
  if (letter == '_') return '-';
  return letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter - 'A' + 'a') : letter;
}

}  // namespace

MechanismRow const& row_of(Mechanism mechanism) { return table[static_cast<std::size_t>(mechanism)]; }

std::string_view to_string(Mechanism mechanism) noexcept {
  return static_cast<std::size_t>(mechanism) < table.size() ? row_of(mechanism).name : "unknown";
}

std::optional<Mechanism> mechanism_named(std::string_view name) noexcept {
  for (auto const& row : table)
    if (std::ranges::equal(row.name, name, {}, {}, folded)) return row.mechanism;
  return std::nullopt;
}

}  // namespace athanor::inline v1::chem

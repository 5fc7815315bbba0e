/// The periodic table as far as text needs it: symbols and atomic numbers.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace athanor::inline v1::chem {

/// Symbols by atomic number; 0 is the wildcard.
inline constexpr std::array<std::string_view, 119> element_symbols = {
    "*",  "H",  "He", "Li", "Be", "B",  "C",  "N",  "O",  "F",  "Ne", "Na", "Mg", "Al", "Si", "P",  "S",
    "Cl", "Ar", "K",  "Ca", "Sc", "Ti", "V",  "Cr", "Mn", "Fe", "Co", "Ni", "Cu", "Zn", "Ga", "Ge", "As",
    "Se", "Br", "Kr", "Rb", "Sr", "Y",  "Zr", "Nb", "Mo", "Tc", "Ru", "Rh", "Pd", "Ag", "Cd", "In", "Sn",
    "Sb", "Te", "I",  "Xe", "Cs", "Ba", "La", "Ce", "Pr", "Nd", "Pm", "Sm", "Eu", "Gd", "Tb", "Dy", "Ho",
    "Er", "Tm", "Yb", "Lu", "Hf", "Ta", "W",  "Re", "Os", "Ir", "Pt", "Au", "Hg", "Tl", "Pb", "Bi", "Po",
    "At", "Rn", "Fr", "Ra", "Ac", "Th", "Pa", "U",  "Np", "Pu", "Am", "Cm", "Bk", "Cf", "Es", "Fm", "Md",
    "No", "Lr", "Rf", "Db", "Sg", "Bh", "Hs", "Mt", "Ds", "Rg", "Cn", "Nh", "Fl", "Mc", "Lv", "Ts", "Og"};

/// Atomic number of a one- or two-letter symbol; -1 when there is no such element.
constexpr std::int32_t atomic_number(std::string_view symbol) noexcept {
  for (std::size_t number = 0; number < element_symbols.size(); ++number)
    if (element_symbols[number] == symbol) return static_cast<std::int32_t>(number);
  return -1;
}

}  // namespace athanor::inline v1::chem

#pragma once

bool libtorch_first();
bool athanor_first();

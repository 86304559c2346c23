package procs_test

const hasParentDeathSignal = true

package store

const childRole = "PARLEY_STORE_TEST"

func child(role string) int { panic("store: no such child: " + role) }

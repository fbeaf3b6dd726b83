package store

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func ids(users []*User) []string {
	out := []string{}
	for _, u := range users {
		out = append(out, u.ID)
	}
	return out
}

func TestUsersKeepArrivalOrder(t *testing.T) {
	u := NewUsers()
	for _, id := range []string{"a", "b", "c", "d"} {
		if err := u.Save(&User{ID: id, Nick: id, Room: "r"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := u.Save(&User{ID: "x", Nick: "b", Room: "r"}); !errors.Is(err, ErrNameTaken) {
		t.Fatalf("a taken name: %v", err)
	}
	if err := u.Save(&User{ID: "x", Nick: "b", Room: "other"}); err != nil {
		t.Fatalf("the same name in another room: %v", err)
	}
	u.Delete("b")
	if err := u.Save(&User{ID: "e", Nick: "b", Room: "r"}); err != nil {
		t.Fatalf("a name that is free again: %v", err)
	}
	if err := u.Save(&User{ID: "a", Nick: "A2", Room: "r"}); err != nil {
		t.Fatal(err)
	}
	if u.FindName("r", "a") != nil || u.FindName("r", "A2").ID != "a" {
		t.Fatal("a changed name is found under the old one")
	}
	for _, c := range []struct {
		offset, limit int
		want          []string
	}{
		{0, 10, []string{"a", "c", "d", "e"}},
		{1, 2, []string{"c", "d"}},
		{3, 10, []string{"e"}},
		{4, 10, []string{}},
		{-1, 10, []string{}},
		{0, 0, []string{}},
	} {
		if got := ids(u.InRoom("r", c.offset, c.limit)); !slices.Equal(got, c.want) {
			t.Errorf("InRoom(%d, %d) = %v, want %v", c.offset, c.limit, got, c.want)
		}
	}
}

// TestUsersModel plays arrivals, departures and moves against a plain list.
// Somebody of whom is heard late stands where it came, whatever holes those who left have made.
func TestUsersHeardLate(t *testing.T) {
	u := NewUsers()
	save := func(id string, arrival int64) {
		if err := u.Save(&User{ID: id, Name: id, Nick: id, Room: "r", Arrival: arrival}); err != nil {
			t.Fatal(err)
		}
	}
	order := func() (ids string) {
		for _, user := range u.InRoom("r", 0, 10) {
			ids += user.ID
		}
		return ids
	}
	save("b", 20)
	save("d", 40)
	save("f", 60)
	save("e", 50)
	save("g", 70)
	u.Delete("f")
	save("c", 30)
	save("a", 10)
	if got := order(); got != "abcdeg" {
		t.Errorf("the order is %s", got)
	}
	for _, id := range []string{"d", "a", "g"} {
		if gone := u.Delete(id); gone == nil || gone.ID != id {
			t.Errorf("deleting %s took out %+v", id, gone)
		}
	}
	if got := order(); got != "bce" {
		t.Errorf("the order is %s", got)
	}
}

func TestUsersModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		u := NewUsers()
		var model []User // in order of arrival
		some := func(prefix string, n int) *rapid.Generator[string] {
			return rapid.Map(rapid.IntRange(1, n), func(i int) string { return fmt.Sprint(prefix, i) })
		}
		t.Repeat(map[string]func(*rapid.T){
			"save": func(t *rapid.T) {
				user := User{ID: some("id", 20).Draw(t, "id"), Nick: some("n", 12).Draw(t, "nick"), Room: some("r", 2).Draw(t, "room")}
				taken := slices.ContainsFunc(model, func(m User) bool {
					return m.Room == user.Room && m.Nick == user.Nick && m.ID != user.ID
				})
				err := u.Save(&user)
				if taken != errors.Is(err, ErrNameTaken) {
					t.Fatalf("taken %v: %v", taken, err)
				}
				if taken {
					return
				}
				i := slices.IndexFunc(model, func(m User) bool { return m.ID == user.ID })
				if i >= 0 && model[i].Room == user.Room {
					model[i] = user
					return
				}
				if i >= 0 {
					model = slices.Delete(model, i, i+1)
				}
				model = append(model, user)
			},
			"delete": func(t *rapid.T) {
				id := some("id", 20).Draw(t, "id")
				gone := u.Delete(id)
				i := slices.IndexFunc(model, func(m User) bool { return m.ID == id })
				if (gone == nil) != (i < 0) {
					t.Fatalf("deleted %v, model has it at %d", gone, i)
				}
				if i >= 0 {
					model = slices.Delete(model, i, i+1)
				}
			},
			"": func(t *rapid.T) {
				for _, room := range []string{"r1", "r2"} {
					want := []string{}
					for _, m := range model {
						if m.Room == room {
							want = append(want, m.ID)
							if f := u.Find(m.ID); f == nil || *f != m {
								t.Fatalf("Find(%s) = %v, want %v", m.ID, f, m)
							}
							if f := u.FindName(room, m.Nick); f == nil || f.ID != m.ID {
								t.Fatalf("FindName(%s, %s) = %v", room, m.Nick, f)
							}
						}
					}
					if got := ids(u.InRoom(room, 0, 100)); !slices.Equal(got, want) {
						t.Fatalf("InRoom(%s) = %v, want %v", room, got, want)
					}
					if u.Count(room) != len(want) {
						t.Fatalf("Count(%s) = %d, want %d", room, u.Count(room), len(want))
					}
				}
			},
		})
	})
}

// inUse is what is in use after a collection.
func inUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestUsersGiveMemoryBack(t *testing.T) {
	u := NewUsers()
	before := inUse()
	for i := range 100_000 {
		id := fmt.Sprint("user", i)
		if err := u.Save(&User{ID: id, Nick: id, Room: fmt.Sprint("room", i)}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 100_000 {
		u.Delete(fmt.Sprint("user", i))
	}
	if grown := inUse() - before; grown > 1<<20 {
		t.Errorf("%d bytes are still in use", grown)
	}
	runtime.KeepAlive(u)
}

func BenchmarkUsersChurn(b *testing.B) {
	u := NewUsers()
	users := make([]*User, 10_000)
	for i := range users {
		id := fmt.Sprint("user", i)
		users[i] = &User{ID: id, Nick: id, Room: "lobby"}
		if err := u.Save(users[i]); err != nil {
			b.Fatal(err)
		}
	}
	n := 0
	for b.Loop() {
		user := users[n*7919%len(users)]
		u.Delete(user.ID)
		if err := u.Save(user); err != nil {
			b.Fatal(err)
		}
		n++
	}
}

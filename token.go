package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"parley/hub"
)

// tokenCmd makes a token for trying out.
type tokenCmd struct {
	TokenSecret string        `required:"" placeholder:"SECRET" help:"The secret that the server was given, 32 bytes at the least."`
	Sub         string        `default:"someone" help:"The subject: who this is to whoever gives out tokens (${default})."`
	Name        string        `required:"" help:"The user's name."`
	Room        []string      `sep:"none" default:"*" help:"A room that the token opens; * at the end for all that begin so; repeatable (${default})."`
	For         time.Duration `default:"1h" help:"How long it is good (${default})."`
	Moderator   bool          `help:"Its holder may kick."`
}

// Validate is called by kong: it refuses what opens nothing.
func (t *tokenCmd) Validate() error {
	switch {
	case t.For <= 0:
		return errors.New("--for must be above 0")
	case slices.Contains(t.Room, ""):
		return errors.New("--room must not be empty; * is all")
	}
	return nil
}

// Run prints the token.
func (t *tokenCmd) Run(stdout io.Writer) error {
	claims := hub.Claims{Name: t.Name, Rooms: t.Room}
	claims.Subject = t.Sub
	if err := claims.Validate(); err != nil {
		return fmt.Errorf("--%w", err)
	}
	claims.ExpiresAt = jwt.NewNumericDate(time.Now().Add(t.For))
	if t.Moderator {
		claims.Role = hub.RoleModerator
	}
	token, err := hub.MakeToken(t.TokenSecret, claims)
	if err != nil {
		return fmt.Errorf("--token-secret: %w", err)
	}
	_, err = fmt.Fprintln(stdout, token)
	return err
}

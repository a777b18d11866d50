module atalanta.dev/guest

go 1.23

module atalanta/test

go 1.24

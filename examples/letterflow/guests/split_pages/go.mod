module atalanta/letterflow/split_pages

go 1.24

require golang.org/x/image v0.30.0

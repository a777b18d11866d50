import { Argument, type Command } from "commander";
import { Failure } from "../errors/mod.ts";

const scripts: Readonly<Record<string, string>> = {
  bash: `_atalanta() {
  local IFS=$'\\n'
  COMPREPLY=($(atalanta complete -- "$COMP_CWORD" "\${COMP_WORDS[@]}" 2>/dev/null))
}
complete -o default -F _atalanta atalanta
`,
  zsh: `#compdef atalanta
_atalanta() {
  local -a found
  found=("\${(@f)$(atalanta complete -- "$((CURRENT - 1))" "\${words[@]}" 2>/dev/null)}")
  if [[ -n "$found" ]]; then compadd -a found; else _files; fi
}
if [[ "$funcstack[1]" = "_atalanta" ]]; then _atalanta "$@"; else compdef _atalanta atalanta; fi
`,
  fish: `function __atalanta_complete
  set -l words (commandline -opc) (commandline -ct)
  set -l found (atalanta complete -- (math (count $words) - 1) $words 2>/dev/null)
  if test (count $found) -gt 0
    printf '%s\\n' $found
  else
    __fish_complete_path (commandline -ct)
  end
end
complete -c atalanta -f -a '(__atalanta_complete)'
`,
};

/** `atalanta completion SHELL` */
export function addCompletion(program: Command): void {
  program
    .command("completion")
    .description("Print a script that completes words in your shell")
    .addArgument(new Argument("<shell>", "your shell").choices(Object.keys(scripts)))
    .addHelpText(
      "after",
      `
Completes commands, options, names of runs, and files where a file is meant.

Examples:
  atalanta completion bash >> ~/.bashrc
  atalanta completion zsh > ~/.zfunc/_atalanta
  atalanta completion fish > ~/.config/fish/completions/atalanta.fish`,
    )
    .action((shell: string) => {
      const script = scripts[shell];
      if (script === undefined) throw new Failure("invalid-argument", `No script for "${shell}"`);
      process.stdout.write(script);
    });
}

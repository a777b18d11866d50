import type { Effect, Lock, RunEvent, Work } from "./plan/mod.ts";

type Of<Type extends Effect["type"]> = Extract<Effect, { readonly type: Type }>;

/**
 * What effects have asked for and no event has answered yet. It is kept the same way while a run goes on and while its journal is
 * replayed, so what a dead process left undone is simply what is outstanding at the end.
 */
export class Outstanding {
  /** By node: has not ended. */
  readonly work: Map<string, Work> = new Map<string, Work>();
  /** By node, with the reason: work that is to be stopped and has not ended. */
  readonly cancelled: Map<string, string> = new Map<string, string>();
  readonly asked: Map<string, readonly Lock[]> = new Map<string, readonly Lock[]>();
  readonly held: Map<string, readonly Lock[]> = new Map<string, readonly Lock[]>();
  readonly recalls: Map<string, Of<"recall">> = new Map<string, Of<"recall">>();
  readonly wakes: Set<number> = new Set<number>();
  #finished = false;

  get finished(): boolean {
    return this.#finished;
  }

  /** An event, and then the effects that the planner made of it. */
  note(event: RunEvent, effects: readonly Effect[]): void {
    this.#answer(event);
    for (const effect of effects) this.#take(effect);
  }

  #answer(event: RunEvent): void {
    switch (event.type) {
      case "ended":
        // What is left of an earlier attempt answers nothing.
        if (this.work.get(event.node)?.attempt !== event.attempt) break;
        this.work.delete(event.node);
        this.cancelled.delete(event.node);
        break;
      case "locked": {
        const locks = this.asked.get(event.node);
        this.asked.delete(event.node);
        if (locks) this.held.set(event.node, locks);
        break;
      }
      case "recalled":
        this.recalls.delete(event.node);
        break;
      case "woke":
        for (const at of this.wakes) if (at <= event.at) this.wakes.delete(at);
        break;
      case "retried":
        this.#finished = false;
        break;
      case "collected":
      case "begun":
      case "resumed":
      case "suspended":
      case "shutdown":
        break;
    }
  }

  #take(effect: Effect): void {
    switch (effect.type) {
      case "start":
        this.work.set(effect.work.node, effect.work);
        this.cancelled.delete(effect.work.node);
        break;
      case "cancel":
        if (this.work.has(effect.node)) this.cancelled.set(effect.node, effect.reason);
        break;
      case "wake":
        this.wakes.add(effect.at);
        break;
      case "lock":
        this.asked.set(effect.node, effect.locks);
        break;
      case "unlock":
        this.asked.delete(effect.node);
        this.held.delete(effect.node);
        break;
      case "recall":
        this.recalls.set(effect.node, effect);
        break;
      case "finish":
        this.#finished = true;
        this.wakes.clear();
        break;
      case "remember":
        break;
    }
  }
}

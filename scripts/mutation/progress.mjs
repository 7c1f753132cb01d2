/** A line each minute, for runs of an hour. */
export class ProgressReporter {
  #total = 0;
  #tested = 0;
  #survived = 0;
  #printedAt = Date.now();

  onMutationTestingPlanReady({ mutantPlans }) {
    this.#total = mutantPlans.length;
    console.log(`${this.#total} mutants`);
  }

  onMutantTested({ status }) {
    this.#tested++;
    if (status === 'Survived' || status === 'NoCoverage') this.#survived++;
    if (Date.now() - this.#printedAt < 60_000) return;
    this.#printedAt = Date.now();
    console.log(`${this.#tested} of ${this.#total} tested, ${this.#survived} survived`);
  }
}

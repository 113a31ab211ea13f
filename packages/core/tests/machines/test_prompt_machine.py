import json
import os
from dataclasses import asdict
from pathlib import Path

import pytest
from golden_files import GoldenCase, golden_cases

from mnemic_core.machines import (
    UNIVERSAL_MACHINE,
    KeyValueStore,
    PromptInterpreter,
    PromptStep,
    Transition,
    follow_prompt,
    replay,
    trace,
    universal_machine_program,
)

FOLDER = Path(__file__).parent.parent / "golden"
CASES = [case for case in golden_cases("core", FOLDER) if "U15,2" in case.info["mechanism"]]
GOLDEN = [pytest.param(case, id=case.name) for case in CASES]
RUNS = [pytest.param(case, index, id=f"{case.name}-{index}") for case in CASES for index in range(case.config["cases"])]
SHORT = ([1, 1, 0, 0, 0, 0], 3)  # a tape and a head from which the machine halts after eight steps


def row_of(transition: Transition | None, states: list[str]) -> list[int]:
    """A transition as the golden file has it."""
    return [-1] * 3 if transition is None else [transition.write, transition.move, states.index(transition.state)]


@pytest.mark.golden
@pytest.mark.parametrize("case", GOLDEN)
def test_table_equals_the_published_one(case: GoldenCase) -> None:
    states = case.config["states"]
    table = [[row_of(cell, states) for cell in UNIVERSAL_MACHINE[state]] for state in states]
    assert table == case.inputs["table"].tolist()


@pytest.mark.golden
@pytest.mark.parametrize("case", GOLDEN)
def test_all_thirty_prompts_follow_the_transition_table(case: GoldenCase) -> None:
    for state, row in zip(case.config["states"], case.inputs["table"].tolist(), strict=True):
        for symbol, expected in enumerate(row):
            memory = universal_machine_program([symbol])
            memory.assign("op", memory.read(state))
            run = PromptInterpreter(follow_prompt).run(memory, max_steps=1)
            (found,) = trace(run.steps, memory)
            assert (found.state, found.symbol, found.head) == (state, symbol, 0)
            assert row_of(found.transition, case.config["states"]) == expected


@pytest.mark.golden
@pytest.mark.parametrize(("case", "index"), RUNS)
def test_runs_equal_the_simulated_ones_step_for_step(case: GoldenCase, index: int) -> None:
    states, expected = case.config["states"], {name: value.tolist() for name, value in case.outputs.items()}
    tape, (head,) = case.inputs[f"tape.{index}"].tolist(), case.inputs[f"head.{index}"].tolist()
    memory = universal_machine_program(tape, head)
    run = PromptInterpreter(follow_prompt).run(memory, max_steps=case.config["max_steps"])
    rows = [
        [number, states.index(row.state), row.head, row.symbol, *row_of(row.transition, states)]
        for number, row in enumerate(trace(run.steps, memory))
    ]
    assert rows == expected[f"trace.{index}"]
    assert [int(run.has_halted)] == expected[f"halted.{index}"]
    assert [int(run.memory.read("i"))] == expected[f"final_head.{index}"]
    last = states[expected[f"final_state.{index}"][0]]
    assert run.memory.read("op") == ("halt" if run.has_halted else memory.read(last))
    (start,) = expected[f"final_tape_start.{index}"]
    final = dict(enumerate(expected[f"final_tape.{index}"], start))
    cells = {int(name) for name in run.memory.to_dict() if name.lstrip("-").isdigit()} | set(final)
    assert {cell: int(run.memory.read(str(cell))) for cell in cells} == {cell: final.get(cell, 0) for cell in cells}


def test_there_are_golden_runs() -> None:
    assert RUNS or "MNEMIC_GOLDEN_DIR" in os.environ


def test_a_short_run_can_be_checked_by_hand() -> None:
    memory = universal_machine_program(*SHORT)
    run = PromptInterpreter(follow_prompt).run(memory, max_steps=100)
    rows = trace(run.steps, memory)
    assert [(row.state, row.head, row.symbol) for row in rows] == [
        ("A", 3, 0),  # 0 and right
        ("B", 4, 0),  # 1 and right
        ("C", 5, 0),  # 0 and left
        ("G", 4, 1),  # 1 and left
        ("G", 3, 0),  # 0 and left
        ("H", 2, 0),  # 1 and left
        ("I", 1, 1),  # 1 and left
        ("J", 0, 1),  # halt
    ]
    assert rows[-1].transition is None
    assert [run.memory.read(str(cell)) for cell in range(6)] == list("111010")


def test_the_text_function_obeys_the_prompt_and_not_the_table() -> None:
    prompt = universal_machine_program([1]).expand("@[A]", "@")
    prompt = KeyValueStore({"boot": "", "i": 0, "0": "1"}).expand(prompt, "@")
    assert follow_prompt(prompt) == 'op="%[A]" %[i]="1" i+=1'
    assert follow_prompt(prompt.replace("if 1==1", "if 0==1")) == 'op="%[B]" %[i]="0" i+=1'
    assert follow_prompt(prompt.replace('="1" i+=1', '="0" i-=1')) == 'op="%[A]" %[i]="0" i-=1'


def test_prompts_hold_the_symbol_and_nothing_of_the_rest_of_the_tape() -> None:
    memories = [universal_machine_program([0, 1, *rest], head=1) for rest in ([0, 0], [1, 1])]
    prompts = [PromptInterpreter(follow_prompt).run(memory, max_steps=1).steps[0].prompt for memory in memories]
    assert prompts[0] == prompts[1]
    assert "if 1==1 then" in prompts[0]


def test_a_log_is_replayed_without_the_text_function_also_from_json() -> None:
    memory = universal_machine_program(*SHORT)
    run = PromptInterpreter(follow_prompt).run(memory, max_steps=100)
    steps = [PromptStep(**step) for step in json.loads(json.dumps([asdict(step) for step in run.steps]))]
    again = replay(steps, KeyValueStore(json.loads(json.dumps(memory.to_dict()))))
    assert again.steps == run.steps
    assert again.memory.to_dict() == run.memory.to_dict()
    assert again.has_halted


def test_a_log_of_another_program_is_refused() -> None:
    run = PromptInterpreter(follow_prompt).run(universal_machine_program(*SHORT), max_steps=3)
    with pytest.raises(ValueError, match="the log has the prompt"):
        replay(run.steps, universal_machine_program([1]))


def test_the_given_memory_stays_as_it_is() -> None:
    memory = universal_machine_program(*SHORT)
    before = memory.to_dict()
    PromptInterpreter(follow_prompt).run(memory, max_steps=5)
    assert memory.to_dict() == before


def test_the_number_of_steps_is_limited() -> None:
    run = PromptInterpreter(lambda prompt: "n+=1").run(KeyValueStore({"op": "@[n]", "n": 0}), max_steps=7)
    assert (len(run.steps), run.has_halted, run.memory.read("n")) == (7, False, "7")
    halted = PromptInterpreter(lambda prompt: "").run(KeyValueStore({"op": "halt"}), max_steps=0)
    assert (halted.steps, halted.has_halted) == ((), True)


def test_references_may_be_nested_and_are_not_searched_again() -> None:
    store = KeyValueStore({"i": 2, "2": "j", "j": "@[i]%[i]"})
    assert store.expand("[@[@[i]]|@[@[@[i]]]|%[i]|@[9]]", "@") == "[j|@[i]%[i]|%[i]|0]"


def test_an_answer_reads_the_memory_as_it_was_before() -> None:
    store = KeyValueStore({"op": "x", "i": 4, "text": 'say "hello" +=1'})
    interpreter = PromptInterpreter(lambda prompt: 'so: i="5" %[i] = "%[i]" a_b="%[text]", -7="" i += 2 i-=1')
    step = interpreter.step(store)
    assert step.assigned == {"i": "5", "4": "4", "a_b": 'say "hello" +=1', "-7": ""}
    assert step.added == {"i": 1}
    assert store.read("i") == "6"


@pytest.mark.parametrize(
    ("op", "answer", "message"),
    [
        ("go", "I do not know", "expected statements such as .*, got the answer 'I do not know'"),
        ("@[boot]", 'op="halt"', "no record 'boot', only"),
        ("@[op", 'op="halt"', r"reference @\[... is not closed"),
        ("go", 'op="%[B]"', "no record 'B'"),
        ("go", "op += 1", "record 'op' holds 'go'; assign one first"),
    ],
)
def test_broken_programs_and_answers_are_named(op: str, answer: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PromptInterpreter(lambda prompt: answer).run(KeyValueStore({"op": op}), max_steps=2)


def test_impossible_tapes_and_prompts_are_refused() -> None:
    with pytest.raises(ValueError, match=r"symbols 0 and 1, got also \[2\]"):
        universal_machine_program([0, 2])
    with pytest.raises(ValueError, match=r"sets result and shows it with \$result, got 'result = 1'"):
        follow_prompt("result = 1")

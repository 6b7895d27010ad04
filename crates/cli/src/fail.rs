//! Showing failures: what could not be done, why, and the next step.

use std::io::{IsTerminal as _, Write as _};

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use lifeboat_model::{Diagnose, Problem, Problems, Severity, error_chain};

use crate::exit::Exit;

/// Prints one line for people.
pub(crate) fn print_line(line: &str) {
    // If nobody can be told, the exit code still says what happened.
    writeln!(anstream::stderr(), "{line}").ok();
}

/// Prints a failure once, with its whole chain and hint, and returns its exit code.
pub(crate) fn print(error: &dyn Diagnose) -> Exit {
    if let Some(problems) = error.problems() {
        print_problems(problems);
    }
    print_line(&format!("error: {}", error_chain(error)));
    if let Some(hint) = error.hint() {
        print_line(&format!("hint: {hint}"));
    }
    Exit::of_kind(error.kind())
}

/// Returns a failure as JSON documents hold it, under the name `error`.
pub(crate) fn document(error: &dyn Diagnose) -> serde_json::Value {
    let chain = std::iter::successors(error.source(), |cause| cause.source());
    let message = error.to_string();
    let mut causes: Vec<String> = chain.map(ToString::to_string).collect();
    // Transparent wrappers say what they wrap.
    causes.dedup();
    causes.retain(|cause| *cause != message);
    serde_json::json!({
        "message": message,
        "causes": causes,
        "problems": error.problems().map(problem_list),
        "hint": error.hint(),
        "kind": error.kind().as_str(),
        "exit_code": Exit::of_kind(error.kind()).code(),
    })
}

/// Returns what JSON documents hold of a run that was asked to stop.
pub(crate) fn interrupted() -> serde_json::Value {
    serde_json::json!({
        "message": "interrupted: what was committed before stays valid",
        "causes": [],
        "problems": null,
        "hint": null,
        "kind": lifeboat_model::ErrorKind::Interrupted.as_str(),
        "exit_code": Exit::INTERRUPTED.code(),
    })
}

/// Returns problems in files that people write as JSON documents hold them.
pub(crate) fn problem_list(problems: &Problems) -> serde_json::Value {
    let one = |problem: &Problem| {
        let severity = match problem.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Advice => "advice",
        };
        serde_json::json!({
            "severity": severity,
            "file": &*problem.file,
            "line": problem.line,
            "message": problem.message,
            "hint": problem.hint,
        })
    };
    problems.iter().map(one).collect()
}

/// Prints problems in files that people write, each with the lines it stands in.
pub(crate) fn print_problems(problems: &Problems) {
    let renderer = match std::io::stderr().is_terminal() {
        true => Renderer::styled(),
        false => Renderer::plain(),
    };
    for problem in problems.iter() {
        print_line(&render(problem, problems.text_of(&problem.file), &renderer));
    }
}

fn render(problem: &Problem, text: Option<&str>, renderer: &Renderer) -> String {
    let level = match problem.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Advice => Level::NOTE,
    };
    let mut group = Group::with_title(level.primary_title(&problem.message));
    match text.filter(|text| problem.line > 0 && problem.span.end <= text.len()) {
        Some(text) => {
            let annotation = AnnotationKind::Primary.span(problem.span.clone());
            let snippet = Snippet::source(text)
                .path(&*problem.file)
                .annotation(annotation);
            group = group.element(snippet);
        }
        None => group = group.element(annotate_snippets::Origin::path(&*problem.file)),
    }
    if let Some(hint) = &problem.hint {
        group = group.element(Level::HELP.message(hint));
    }
    renderer.render(&[group])
}

// Uploads by picker, drag or paste, and the slider. Gradio draws the page late and anew: listeners are the document's.
(() => {
  let picture = '';  // what the server calls the upload
  let uploads = 0;   // so that a slow earlier one does not take the place of a later

  // Called by Gradio before it asks the server.
  window.gleanPlusPicture = () => picture;

  const find = (selector) => document.querySelector(selector);

  const say = (text, failed) => {
    const line = find('.gp-picture');
    line.textContent = text;
    line.className = failed ? 'gp-picture gp-error' : 'gp-picture';
    line.setAttribute('role', failed ? 'alert' : 'status');
  };

  const show = (file) => {
    const image = find('.gp-drop img');
    URL.revokeObjectURL(image.src);
    image.hidden = true;
    image.onload = () => { image.hidden = false; };
    image.src = URL.createObjectURL(file);
  };

  const upload = async (file) => {
    const zone = find('.gp-drop');
    const mine = ++uploads;
    picture = '';
    show(file);
    if (file.size > Number(zone.dataset.limit)) {
      say(`The file is too large: at most ${zone.dataset.limitText} are taken.`, true);
      return;
    }
    say(`${file.name} is on its way ...`);
    let answer;
    try {
      const response = await fetch(zone.dataset.to, {
        method: 'POST', body: file, headers: { 'X-File-Name': encodeURIComponent(file.name) },
      });
      answer = await response.json();
    } catch (error) {
      answer = { error: 'The upload broke off: try again.' };
    }
    if (mine !== uploads) return;
    if (answer.error) {
      say(`${file.name}: ${answer.error}`, true);
      return;
    }
    picture = answer.picture;
    say(`${file.name}, ${answer.width} x ${answer.height} pixels`);
  };

  const take = (files) => {
    if (files && files.length && find('.gp-drop')) upload(files[0]);
  };

  document.addEventListener('change', (event) => {
    if (!event.target.matches('.gp-drop input')) return;
    take(event.target.files);
    event.target.value = '';  // the same file can be chosen again
  });
  document.addEventListener('dragover', (event) => {
    event.preventDefault();
    find('.gp-drop')?.classList.add('gp-over');
  });
  document.addEventListener('dragleave', (event) => {
    if (!event.relatedTarget) find('.gp-drop')?.classList.remove('gp-over');
  });
  document.addEventListener('drop', (event) => {
    event.preventDefault();
    find('.gp-drop')?.classList.remove('gp-over');
    take(event.dataTransfer?.files);
  });
  document.addEventListener('paste', (event) => take(event.clipboardData?.files));
  document.addEventListener('input', (event) => {
    if (event.target.matches('.gp-compare input')) {
      event.target.parentElement.style.setProperty('--at', `${event.target.value}%`);
    }
  });
})();

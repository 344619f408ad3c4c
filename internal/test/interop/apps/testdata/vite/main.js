import { greeting } from './greeting.js';

document.body.textContent = greeting;
if (import.meta.hot) {
  import.meta.hot.accept('./greeting.js', (module) => {
    document.body.textContent = module.greeting;
  });
}
